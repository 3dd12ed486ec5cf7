#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace genkit {

/// A 128-bit hash of bytes that tells files apart; no protection against forgery. Large inputs are
/// hashed by all threads, which leaves no trace in the result.
class ByteHash {
 public:
  void add(const void* bytes, size_t size);
  void add(std::string_view text) { add(text.data(), text.size()); }
  void add(uint64_t number) { add(&number, sizeof number); }
  /// 32 hexadecimal digits.
  std::string hex() const;
  /// Half of them.
  uint64_t number() const { return a_; }

 private:
  uint64_t a_ = 0x9E3779B97F4A7C15u, b_ = 0xC2B2AE3D27D4EB4Fu;
};

}  // namespace genkit

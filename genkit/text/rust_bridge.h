#pragma once

#include <genkit_rust.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genkit/base/error.h"

namespace genkit::text {

/// Owns a buffer that the Rust library returned.
class RustBuffer {
 public:
  RustBuffer() = default;
  ~RustBuffer() { gk_buffer_free(buffer_); }
  RustBuffer(RustBuffer&& other) noexcept : buffer_(std::exchange(other.buffer_, GkBuffer{})) {}
  RustBuffer& operator=(RustBuffer&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }

  GkBuffer* out() { return &buffer_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(buffer_.data), buffer_.size}; }
  std::string str() const { return std::string(view()); }
  /// The buffer as integers; it is not aligned, so they are copied out.
  template <typename Integer>
  std::vector<Integer> integers() const {
    std::vector<Integer> values(buffer_.size / sizeof(Integer));
    if (!values.empty()) {
      std::memcpy(values.data(), buffer_.data, values.size() * sizeof(Integer));
    }
    return values;
  }

 private:
  GkBuffer buffer_{};
};

inline GkSlice to_slice(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// Throws the typed error of a status other than GK_OK.
/// @param context put before the message ("DIR/tokenizer.json: "); may be empty.
[[noreturn]] inline void throw_rust_error(int status, std::string_view context, std::string_view message) {
  std::string text = std::string(context) + std::string(message);
  switch (status) {
    case GK_ARGUMENT:
      throw ArgumentError(text);
    case GK_FORMAT:
      throw FormatError(text);
    case GK_IO:
      throw IoError(text);
    default:
      throw Error(text);
  }
}

/// Calls `function(GkBuffer*)`, which returns a GkStatus, and returns what it put into the buffer.
/// @throws the error that the status stands for, its message behind `context`.
template <typename Function>
RustBuffer call_rust(std::string_view context, Function&& function) {
  RustBuffer buffer;
  const int status = std::forward<Function>(function)(buffer.out());
  if (status != GK_OK) throw_rust_error(status, context, buffer.view());
  return buffer;
}

}  // namespace genkit::text

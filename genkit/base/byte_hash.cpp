#include "genkit/base/byte_hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "genkit/base/thread_pool.h"

namespace genkit {
namespace {

constexpr uint64_t kPrimes[4] = {0x9E3779B185EBCA87u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
                                 0x27D4EB2F165667C5u};

uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

/// Every bit of the input reaches every bit of the output.
uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 33) * kPrimes[1];
  x = (x ^ x >> 29) * kPrimes[2];
  return x ^ x >> 32;
}

struct Pair {
  uint64_t a, b;
};

/// Four lanes of 64 bits, so that the multiplications overlap and reading memory is what takes time.
Pair hash_part(const unsigned char* bytes, size_t size) {
  uint64_t lanes[4] = {kPrimes[0], kPrimes[1], kPrimes[2], kPrimes[3]};
  size_t at = 0;
  for (; at + 32 <= size; at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes + at, 32);
    for (int i = 0; i < 4; ++i) lanes[i] = rotate(lanes[i] ^ words[i] * kPrimes[1], 31) * kPrimes[0];
  }
  uint64_t rest[4] = {size, 0, 0, 0};
  if (at < size) {
    unsigned char tail[32] = {};
    std::memcpy(tail, bytes + at, size - at);
    uint64_t words[4];
    std::memcpy(words, tail, 32);
    for (int i = 0; i < 4; ++i) rest[i] ^= words[i] * kPrimes[2];
  }
  for (int i = 0; i < 4; ++i) lanes[i] = mixed(lanes[i] ^ rest[i]);
  return {mixed(lanes[0] + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18)),
          mixed(lanes[3] * kPrimes[0] + lanes[2] * kPrimes[1] + lanes[1] * kPrimes[2] + lanes[0])};
}

}  // namespace

void ByteHash::add(const void* data, size_t size) {
  constexpr size_t kPart = size_t{1} << 20;
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::vector<Pair> parts(std::max<size_t>(1, (size + kPart - 1) / kPart));
  parallel_for(static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t from = static_cast<size_t>(i) * kPart;
      parts[static_cast<size_t>(i)] = hash_part(bytes + from, std::min(kPart, size - from));
    }
  });
  for (const Pair& part : parts) {
    a_ = mixed(rotate(a_, 27) * kPrimes[0] ^ part.a);
    b_ = mixed(rotate(b_, 33) * kPrimes[3] ^ part.b ^ a_);
  }
}

std::string ByteHash::hex() const { return fmt::format("{:016x}{:016x}", a_, b_); }

}  // namespace genkit

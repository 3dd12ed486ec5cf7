#include "genkit/ops/kept_buffers.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

namespace genkit::ops {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

void* address(const mx::allocator::Data& data) {
  mx::allocator::Buffer buffer = data.buffer();
  return buffer.raw_ptr();
}

TEST(KeptBuffers, LargeMemoryServesTheNextRequestOfItsSize) {
  std::optional<mx::allocator::Data> first(kept_malloc(40 * kMegabyte));
  void* const where = address(*first);
  std::memset(where, 1, 40 * kMegabyte);
  first.reset();
  EXPECT_GE(kept_bytes(), 40 * kMegabyte);
  const auto second = kept_malloc(36 * kMegabyte);
  EXPECT_EQ(address(second), where);
}

TEST(KeptBuffers, WhatIsMoreThanTwiceTheSizeDoesNotServe) {
  void* where = nullptr;
  {
    const auto large = kept_malloc(100 * kMegabyte);
    where = address(large);
  }
  const auto less = kept_malloc(30 * kMegabyte);
  EXPECT_NE(address(less), where);
}

TEST(KeptBuffers, TwoAreKept) {
  {
    const mx::allocator::Data three[] = {kept_malloc(9 * kMegabyte), kept_malloc(9 * kMegabyte),
                                         kept_malloc(9 * kMegabyte)};
  }
  EXPECT_EQ(kept_bytes(), 18 * kMegabyte);
}

TEST(KeptBuffers, SmallMemoryIsNot) {
  const size_t before = kept_bytes();
  { const auto small = kept_malloc(kMegabyte); }
  EXPECT_EQ(kept_bytes(), before);
}

}  // namespace
}  // namespace genkit::ops

#include "genkit/base/byte_hash.h"

#include <gtest/gtest.h>

#include <set>

#include "genkit/base/thread_pool.h"

namespace genkit {
namespace {

std::string hash_of(const std::string& bytes) {
  ByteHash hash;
  hash.add(bytes);
  return hash.hex();
}

TEST(ByteHash, EveryByteAndTheirNumberCount) {
  const std::string base(3000, 'a');
  std::set<std::string> seen = {hash_of(base)};
  for (size_t i = 0; i < base.size(); i += 7) {
    std::string changed = base;
    changed[i] ^= static_cast<char>(1 << i % 8);
    EXPECT_TRUE(seen.insert(hash_of(changed)).second) << i;
  }
  for (size_t size = 0; size < 100; ++size) {
    EXPECT_TRUE(seen.insert(hash_of(std::string(size, '\0'))).second) << size;
  }
  ByteHash parts;
  parts.add("ab");
  parts.add("c");
  EXPECT_NE(parts.hex(), hash_of("abc")) << "where one part ends counts too";
}

TEST(ByteHash, ThreadsLeaveNoTrace) {
  const std::string large(size_t{5} << 20, 'x');
  const int before = num_threads();
  set_num_threads(1);
  const std::string one = hash_of(large);
  set_num_threads(3);
  EXPECT_EQ(hash_of(large), one);
  set_num_threads(before);
}

}  // namespace
}  // namespace genkit

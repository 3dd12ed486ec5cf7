#include "genkit/ops/kv_store.h"

#include <gtest/gtest.h>

#include <vector>

#include "genkit/base/error.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

// Key number i of head h at position t is t + h / 10 + i / 100; values are the negative of that.
void append(KvStore& store, int count, float offset = 0) {
  const auto& s = store.shape();
  std::vector<float> keys, values;
  for (int t = store.length(); t < store.length() + count; ++t) {
    for (int h = 0; h < s.kv_heads; ++h) {
      for (int i = 0; i < s.head_dim; ++i) keys.push_back(offset + t + h / 10.0f + i / 100.0f);
      for (int i = 0; i < s.value_dim; ++i) values.push_back(-(offset + t + h / 10.0f + i / 100.0f));
    }
  }
  store.append(keys.data(), values.data(), count);
}

float key(const KvStore& store, int t, int h, int i) {
  const auto* keys = static_cast<const float*>(store.page_at(t).keys());
  return keys[(h * KvPage::kPageTokens + t % KvPage::kPageTokens) * store.shape().head_dim + i];
}

float value(const KvStore& store, int t, int h, int i) {
  const auto* values = static_cast<const float*>(store.page_at(t).values());
  return values[(h * KvPage::kPageTokens + t % KvPage::kPageTokens) * store.shape().value_dim + i];
}

constexpr KvShape kShape{2, 3, 5, 0, KvType::kF32};

TEST(KvStore, HoldsWhatWasAppendedInPiecesAcrossPages) {
  KvStore store(kShape);
  for (const int count : {1, 62, 5, 100}) append(store, count);
  EXPECT_EQ(store.length(), 168);
  for (int t = 0; t < store.length(); ++t) {
    for (int h = 0; h < 2; ++h) {
      EXPECT_EQ(key(store, t, h, 2), t + h / 10.0f + 2 / 100.0f);
      EXPECT_EQ(value(store, t, h, 4), -(t + h / 10.0f + 4 / 100.0f));
    }
  }
}

TEST(KvStore, ForksShareFullPagesAndCopyTheLastOneOnly) {
  KvStore store(kShape);
  append(store, 100);
  const auto fork = store.fork();
  append(*fork, 3, 1000);
  append(store, 3);
  EXPECT_EQ(&store.page_at(0), &fork->page_at(0));
  EXPECT_NE(&store.page_at(100), &fork->page_at(100));
  EXPECT_EQ(key(*fork, 99, 1, 0), key(store, 99, 1, 0));
  EXPECT_EQ(key(*fork, 100, 0, 0), 1100);
  EXPECT_EQ(key(store, 100, 0, 0), 100);
}

TEST(KvStore, AForkTruncatedIntoASharedPageDoesNotWriteToIt) {
  KvStore store(kShape);
  append(store, 128);
  const auto fork = store.fork();
  fork->truncate(40);
  append(*fork, 10, 1000);
  EXPECT_EQ(key(store, 40, 0, 0), 40);
  EXPECT_EQ(key(*fork, 40, 0, 0), 1040);
  EXPECT_EQ(fork->length(), 50);
}

TEST(KvStore, TrimDropsWholePagesBehindTheWindow) {
  KvShape shape = kShape;
  shape.window = 70;
  KvStore store(shape);
  append(store, 300);
  const size_t before = store.bytes();
  store.trim(10);
  EXPECT_EQ(store.first(), 192);  // 300 - 69 - 10 = 221, in the page from 192 on
  EXPECT_LT(store.bytes(), before);
  EXPECT_EQ(key(store, 299, 0, 0), 299);
  store.truncate(262);  // sees 193 and later
  EXPECT_EQ(
      testing::message_of<ArgumentError>([&] { store.truncate(260); }),
      "cache: cannot go back to position 260: the sliding window of 70 has dropped what came before 192");
  append(store, 1);
  EXPECT_EQ(key(store, 262, 1, 0), 262 + 0.1f);
}

TEST(KvStore, TruncateRefusesPositionsItNeverHad) {
  KvStore store(kShape);
  append(store, 4);
  EXPECT_EQ(testing::message_of<ArgumentError>([&] { store.truncate(5); }),
            "cache: cannot be truncated to 5 positions, it holds 4");
  store.truncate(0);
  EXPECT_EQ(store.bytes(), 0u);
}

}  // namespace
}  // namespace genkit::ops

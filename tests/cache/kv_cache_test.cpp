#include "genkit/cache/kv_cache.h"

#include <gtest/gtest.h>

#include "genkit/base/error.h"

namespace genkit::cache {
namespace {

KvCache two_layers(int window = 0) {
  return KvCache(
      {ops::KvShape{1, 2, 2, 0, ops::KvType::kF32}, ops::KvShape{1, 2, 2, window, ops::KvType::kF32}});
}

/// Appends positions whose key is {value, value + 0.5} to every layer.
void feed(KvCache& cache, int slot, const std::vector<float>& values) {
  for (int layer = 0; layer < cache.num_layers(); ++layer) {
    for (const float v : values) {
      const float key[] = {v, v + 0.5f}, value[] = {-v, -v};
      cache.store(slot, layer)->append(key, value, 1);
    }
  }
}

float key_at(const KvCache& cache, int slot, int layer, int position) {
  const ops::KvPage& page = cache.store(slot, layer)->page_at(position);
  return static_cast<const float*>(page.keys())[position % ops::KvPage::kPageTokens * 2];
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const ArgumentError& e) {
    return e.what();
  }
  return "no error";
}

TEST(KvCache, SlotsAreReusedLowestFirst) {
  KvCache cache = two_layers();
  EXPECT_EQ(cache.add_row(), 0);
  EXPECT_EQ(cache.add_row(), 1);
  EXPECT_EQ(cache.add_row(), 2);
  feed(cache, 0, {1});
  cache.remove_row(0);
  cache.remove_row(1);
  EXPECT_EQ(cache.add_row(), 0);
  EXPECT_EQ(cache.length(0), 0);
  EXPECT_EQ(cache.add_row(), 1);
  EXPECT_EQ(cache.add_row(), 3);
}

TEST(KvCache, ForkSharesThePastAndNothingElse) {
  KvCache cache = two_layers();
  const int a = cache.add_row();
  feed(cache, a, {1, 2, 3});
  const int b = cache.fork_row(a);
  feed(cache, a, {4});
  feed(cache, b, {5, 6});
  EXPECT_EQ(cache.length(a), 4);
  EXPECT_EQ(cache.length(b), 5);
  EXPECT_EQ(key_at(cache, a, 1, 2), 3);
  EXPECT_EQ(key_at(cache, b, 1, 2), 3);
  EXPECT_EQ(key_at(cache, a, 1, 3), 4);
  EXPECT_EQ(key_at(cache, b, 1, 3), 5);
  cache.remove_row(a);
  EXPECT_EQ(key_at(cache, b, 0, 0), 1);
}

TEST(KvCache, TruncateThenGoOn) {
  KvCache cache = two_layers();
  const int row = cache.add_row();
  feed(cache, row, {1, 2, 3, 4});
  cache.truncate(row, 2);
  EXPECT_EQ(cache.length(row), 2);
  feed(cache, row, {9});
  EXPECT_EQ(key_at(cache, row, 0, 2), 9);
  EXPECT_EQ(message_of([&] { cache.truncate(row, 4); }), "length: cannot cut a row of 3 positions to 4");
  EXPECT_EQ(message_of([&] { cache.truncate(row, -1); }), "length: cannot cut a row of 3 positions to -1");
}

TEST(KvCache, SlidingLayersDropWhatNoQuerySees) {
  KvCache cache = two_layers(8);
  const int row = cache.add_row();
  for (int i = 0; i < 300; ++i) {
    feed(cache, row, {static_cast<float>(i)});
    cache.trim(row);
  }
  EXPECT_EQ(cache.store(row, 0)->first(), 0);
  EXPECT_GT(cache.store(row, 1)->first(), 200);
  EXPECT_LE(cache.store(row, 1)->first(), 300 - 8 + 1);
  EXPECT_EQ(key_at(cache, row, 1, 299), 299);
  const size_t bytes = cache.bytes();
  cache.remove_row(row);
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_LT(bytes, 300u * 2 * 4 * 4 * 2);  // less than both layers whole
}

TEST(KvCache, TruncatePastTheWindowChangesNothing) {
  KvCache cache = two_layers(8);
  const int row = cache.add_row();
  for (int i = 0; i < 300; ++i) feed(cache, row, {static_cast<float>(i)});
  cache.trim(row);
  EXPECT_EQ(message_of([&] { cache.truncate(row, 100); }),
            "length: cannot go back to 100: a sliding window of 8 no longer holds position 93; set_slack() "
            "keeps more");
  EXPECT_EQ(cache.length(row), 300);
  EXPECT_EQ(cache.store(row, 1)->length(), 300);
}

TEST(KvCache, SlackKeepsEnoughToGoBack) {
  KvCache cache = two_layers(8);
  cache.set_slack(100);
  const int row = cache.add_row();
  for (int i = 0; i < 300; ++i) {
    feed(cache, row, {static_cast<float>(i)});
    cache.trim(row);
  }
  cache.truncate(row, 200);
  EXPECT_EQ(cache.length(row), 200);
  EXPECT_EQ(key_at(cache, row, 1, 193), 193);
}

TEST(KvCache, ABoundedRowKeepsItsFirstAndNewestPositions) {
  KvCache cache = two_layers(100);
  const int row = cache.add_row({.max_size = 80, .sinks = 70});
  for (int i = 0; i < 500; ++i) {
    feed(cache, row, {static_cast<float>(i)});
    cache.trim(row);
  }
  for (const int position : {0, 69, 490, 499}) EXPECT_EQ(key_at(cache, row, 0, position), position);
  EXPECT_EQ(cache.store(row, 1)->shape().window, 80) << "a sliding layer's window is at most the bound";
  EXPECT_EQ(cache.store(row, 1)->first() / 64, (500 - 80) / 64);
  EXPECT_EQ(message_of([&] { cache.truncate(row, 300); }),
            "length: cannot go back to 300: a bound of 80 positions no longer holds position 291; "
            "set_slack() keeps more");
  EXPECT_EQ(message_of([&] { cache.truncate(row, 60); }),
            "length: cannot go back to 60: a bound of 80 positions no longer holds position 0; "
            "set_slack() keeps more");
  const int unbounded = cache.add_row();
  EXPECT_EQ(cache.store(unbounded, 1)->shape().window, 100) << "the bound is the row's alone";
  EXPECT_EQ(message_of([&] { cache.add_row({.max_size = 4, .sinks = 4}); }),
            "cache: a window of 0 and a bound of 4 with 4 sinks are not possible");
}

TEST(KvCache, SlackKeepsEnoughToGoBackInABoundedRow) {
  KvCache cache = two_layers(40);
  cache.set_slack(100);
  const int row = cache.add_row({.max_size = 80, .sinks = 10});
  for (int i = 0; i < 500; ++i) {
    feed(cache, row, {static_cast<float>(i)});
    cache.trim(row);
  }
  EXPECT_TRUE(cache.can_truncate(row, 400));
  EXPECT_FALSE(cache.can_truncate(row, 300));
  cache.truncate(row, 400);
  EXPECT_EQ(cache.length(row), 400);
  EXPECT_EQ(key_at(cache, row, 0, 331), 331);
  EXPECT_EQ(key_at(cache, row, 0, 9), 9);
  cache.truncate(row, 0);
  feed(cache, row, {7});
  EXPECT_EQ(key_at(cache, row, 0, 0), 7);
}

TEST(KvCache, AKeptRowGoesOnWhateverBecameOfTheFirst) {
  KvCache cache = two_layers(8);
  const int row = cache.add_row();
  feed(cache, row, {1, 2, 3});
  const KvRow kept = cache.snapshot(row);
  for (int i = 4; i < 300; ++i) {
    feed(cache, row, {static_cast<float>(i)});
    cache.trim(row);
  }
  cache.remove_row(row);
  KvCache other = two_layers(8);
  for (int twin = 0; twin < 2; ++twin) {
    const int again = other.add_row(kept);
    EXPECT_EQ(other.length(again), 3);
    feed(other, again, {9.0f + static_cast<float>(twin)});
    EXPECT_EQ(key_at(other, again, 1, 2), 3);
    EXPECT_EQ(key_at(other, again, 0, 3), 9 + twin);
  }
  KvCache one_layer({ops::KvShape{1, 2, 2, 0, ops::KvType::kF32}});
  EXPECT_EQ(message_of([&] { one_layer.add_row(kept); }),
            "cache: a kept row of 2 layers does not fit one of 1");
  KvCache wide({ops::KvShape{1, 2, 2, 0, ops::KvType::kF32}, ops::KvShape{1, 2, 2, 0, ops::KvType::kF32}});
  EXPECT_EQ(message_of([&] { wide.add_row(kept); }), "cache: a kept row's layer 1 has another shape");
}

TEST(KvCache, UnknownSlotsAndLayers) {
  KvCache cache = two_layers();
  const int row = cache.add_row();
  EXPECT_EQ(message_of([&] { cache.length(7); }), "slot: the cache has no row 7");
  EXPECT_EQ(message_of([&] { cache.remove_row(-1); }), "slot: the cache has no row -1");
  EXPECT_EQ(message_of([&] { cache.store(row, 2); }), "layer: expected a number below 2, got 2");
  cache.remove_row(row);
  EXPECT_EQ(message_of([&] { cache.fork_row(row); }), "slot: the cache has no row 0");
}

}  // namespace
}  // namespace genkit::cache

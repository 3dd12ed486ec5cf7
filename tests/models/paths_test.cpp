// The same answer, bit for bit, whatever the path: alone, in a batch, token by token, in chunks,
// recomputed.

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <random>

#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

using models::LogitsFor;

class Paths : public ::testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override { model_ = load(GetParam()); }

  std::vector<int32_t> random_tokens(int count, int seed) const {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int32_t> id(3, model_->config().vocab_size - 1);
    std::vector<int32_t> out(count);
    for (int32_t& t : out) t = id(random);
    return out;
  }

  /// Logits [tokens, vocab] of one row, without a cache.
  mx::array alone(const std::vector<int32_t>& ids) const {
    models::ForwardInput input = packed({ids}, LogitsFor::kAll);
    input.rows[0].rope_length = static_cast<int>(ids.size());
    return *model_->forward(input).logits;
  }

  /// The same through a cache, in pieces of the given sizes (the last size repeats).
  mx::array in_pieces(const std::vector<int32_t>& ids, const std::vector<int>& sizes) const {
    cache::KvCache cache = model_->make_cache();
    const int slot = cache.add_row();
    std::vector<mx::array> parts;
    for (size_t begin = 0, i = 0; begin < ids.size(); ++i) {
      const size_t end = std::min(ids.size(), begin + sizes[std::min(i, sizes.size() - 1)]);
      models::ForwardInput input = packed({{ids.begin() + begin, ids.begin() + end}}, LogitsFor::kAll);
      input.rows[0].slot = slot;
      input.rows[0].rope_length = static_cast<int>(ids.size());
      parts.push_back(*model_->forward(input, &cache).logits);
      parts.back().eval();
      begin = end;
    }
    EXPECT_EQ(cache.length(slot), static_cast<int>(ids.size()));
    return mx::concatenate(parts, 0);
  }

  void expect_same(const mx::array& got, const mx::array& expected) const {
    EXPECT_EQ(max_difference(got, expected), 0.0);
  }

  std::unique_ptr<models::Model> model_;
};

TEST_P(Paths, BatchEqualsAlone) {
  const auto a = random_tokens(23, 1), b = random_tokens(9, 2), c = random_tokens(1, 3);
  models::ForwardInput input = packed({a, b, c}, LogitsFor::kAll);
  const mx::array together = *model_->forward(input).logits;
  const int vocab = together.shape(1);
  expect_same(mx::slice(together, {0, 0}, {23, vocab}), alone(a));
  expect_same(mx::slice(together, {23, 0}, {32, vocab}), alone(b));
  expect_same(mx::slice(together, {32, 0}, {33, vocab}), alone(c));
}

TEST_P(Paths, StepByStepEqualsWhole) {
  const auto ids = random_tokens(23, 4);
  expect_same(in_pieces(ids, {1}), alone(ids));
}

TEST_P(Paths, ChunksEqualWhole) {
  const auto ids = random_tokens(75, 5);  // more than a page of the cache
  const mx::array whole = alone(ids);
  expect_same(in_pieces(ids, {7}), whole);
  expect_same(in_pieces(ids, {40, 1, 1, 33}), whole);
}

TEST_P(Paths, RowsOfDifferentAgeInOnePass) {
  const auto a = random_tokens(20, 6), b = random_tokens(12, 7);
  cache::KvCache cache = model_->make_cache();
  const int row_a = cache.add_row();
  models::ForwardInput first = packed({{a.begin(), a.begin() + 13}}, LogitsFor::kNone);
  first.rows[0].slot = row_a;
  first.rows[0].rope_length = 20;
  model_->forward(first, &cache).hidden.eval();
  // Row a goes on by its last seven tokens while row b begins.
  const int row_b = cache.add_row();
  models::ForwardInput second = packed({{a.begin() + 13, a.end()}, b}, LogitsFor::kLast);
  second.rows[0].slot = row_a;
  second.rows[0].rope_length = 20;
  second.rows[1].slot = row_b;
  const mx::array logits = *model_->forward(second, &cache).logits;
  const int vocab = logits.shape(1);
  ASSERT_EQ(logits.shape(0), 2);
  expect_same(mx::slice(logits, {0, 0}, {1, vocab}), mx::slice(alone(a), {19, 0}, {20, vocab}));
  expect_same(mx::slice(logits, {1, 0}, {2, vocab}), mx::slice(alone(b), {11, 0}, {12, vocab}));
}

TEST_P(Paths, ForkAndTruncate) {
  const auto a = random_tokens(18, 8), b = random_tokens(5, 9);
  cache::KvCache cache = model_->make_cache();
  cache.set_slack(8);
  const int row = cache.add_row();
  const auto feed = [&](int slot, const std::vector<int32_t>& ids) {
    models::ForwardInput input = packed({ids}, LogitsFor::kLast);
    input.rows[0].slot = slot;
    input.rows[0].rope_length = 32;  // longer than any row here: one choice of frequencies
    mx::array logits = *model_->forward(input, &cache).logits;
    logits.eval();
    return logits;
  };
  const mx::array once = feed(row, a);
  const int twin = cache.fork_row(row);
  feed(row, b);
  EXPECT_EQ(cache.length(row), 23);
  EXPECT_EQ(cache.length(twin), 18);
  const mx::array twin_logits = feed(twin, b);
  // The row takes its five tokens back and is fed them again.
  cache.truncate(row, 18);
  expect_same(feed(row, b), twin_logits);
  cache.truncate(row, 17);
  expect_same(feed(row, {a.back()}), once);
}

TEST_P(Paths, GenerationCachedEqualsRecomputed) {
  const auto prompt = random_tokens(9, 10);
  std::vector<int32_t> cached_ids = prompt, recomputed_ids = prompt;
  cache::KvCache cache = model_->make_cache();
  int slot = cache.add_row();
  for (int step = 0; step < 12; ++step) {
    const int total = static_cast<int>(cached_ids.size());
    if (!model_->can_extend(cache.length(slot), total)) {
      cache.remove_row(slot);
      slot = cache.add_row();
    }
    const std::vector<int32_t> fresh(cached_ids.begin() + cache.length(slot), cached_ids.end());
    models::ForwardInput one = packed({fresh}, LogitsFor::kLast);
    one.rows[0].slot = slot;
    one.rows[0].rope_length = model_->rope_length(static_cast<int>(prompt.size()), total);
    models::ForwardInput all = packed({recomputed_ids}, LogitsFor::kLast);
    all.rows[0].rope_length = one.rows[0].rope_length;
    const mx::array with = *model_->forward(one, &cache).logits;
    const mx::array without = *model_->forward(all).logits;
    expect_same(with, without);
    cached_ids.push_back(greedy(with)[0]);
    recomputed_ids.push_back(greedy(without)[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, Paths, ::testing::ValuesIn(golden_models(Configs::kNewest)), golden_name);

}  // namespace
}  // namespace genkit::test

#include "genkit/logits/speculative.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "genkit/base/error.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

std::vector<float> random_scores(size_t count, unsigned seed, double spread = 1.5) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, spread);
  std::vector<float> out(count);
  for (float& value : out) value = static_cast<float>(normal(generator));
  return out;
}

/// Chi-square of what verify() returns for drafts drawn from `draft`, against softmax(target).
double chi_square(const std::vector<float>& target, std::vector<float> draft, int draws) {
  std::vector<int> counts(target.size());
  const Scores q(draft);
  for (int i = 0; i < draws; ++i) {
    const DrawKey key{5, 3, static_cast<uint64_t>(i)};
    std::vector<float> values = target;
    Scores p(values);
    ++counts[static_cast<size_t>(verify(p, q, sample(q, key, kDraftDraw), key))];
  }
  const double norm = log_sum_exp(target);
  double sum = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    const double expected = std::exp(target[i] - norm) * draws;
    if (target[i] == kRemoved) {
      EXPECT_EQ(counts[i], 0) << i;
    } else {
      sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
  }
  return sum;
}

// 99.99% quantiles of chi-square: 11 degrees of freedom 37.4, 9 degrees 33.7.
TEST(Speculative, KeepsTheTargetsDistribution) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    const std::vector<float> target = random_scores(12, seed);
    EXPECT_LT(chi_square(target, random_scores(12, 100 + seed), 20000), 37.4) << seed;
    EXPECT_LT(chi_square(target, target, 20000), 37.4) << seed << ", the same model";
    EXPECT_LT(chi_square(target, random_scores(12, 100 + seed, 8), 20000), 37.4) << seed << ", a sure draft";
  }
}

TEST(Speculative, KeepsItWhereEitherSideHasRemovedTokens) {
  std::vector<float> target = random_scores(12, 9), draft = random_scores(12, 10);
  target[2] = target[7] = kRemoved;
  draft[1] = draft[2] = draft[5] = kRemoved;
  EXPECT_LT(chi_square(target, draft, 20000), 33.7);
}

TEST(Speculative, AFalseRuleWouldBeSeen) {
  // Taking every draft gives the draft model's distribution: the test above can tell.
  const std::vector<float> target = random_scores(12, 1);
  std::vector<float> draft = random_scores(12, 101);
  const Scores q(draft);
  const double p_norm = log_sum_exp(target), q_norm = log_sum_exp(q);
  double sum = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    const double p = std::exp(target[i] - p_norm) * 20000, other = std::exp(draft[i] - q_norm) * 20000;
    sum += (other - p) * (other - p) / p;
  }
  EXPECT_GT(sum, 1000);
}

TEST(Speculative, AcceptsByTheRatioAndNeverARemovedToken) {
  std::vector<float> target = {std::log(0.5f), std::log(0.3f), std::log(0.2f), kRemoved};
  std::vector<float> draft = {std::log(0.25f), std::log(0.6f), std::log(0.1f), std::log(0.05f)};
  const Scores p(target), q(draft);
  EXPECT_NEAR(acceptance(p, q, 0), 2, 1e-6);
  EXPECT_NEAR(acceptance(p, q, 1), 0.5, 1e-6);
  EXPECT_EQ(acceptance(p, q, 3), 0);
  std::vector<float> rest = target;
  Scores residual(rest);
  leave_residual(residual, q);
  EXPECT_NEAR(std::exp(rest[0]), 0.25 / 0.35, 1e-6);
  EXPECT_EQ(rest[1], kRemoved);
  EXPECT_NEAR(std::exp(rest[2]), 0.1 / 0.35, 1e-6);
  EXPECT_EQ(rest[3], kRemoved);
}

TEST(Speculative, EqualDistributionsLeaveTheTargetItself) {
  std::vector<float> target = {1, 2, 3}, draft = target;
  Scores p(target);
  leave_residual(p, Scores(draft));
  EXPECT_EQ(target, draft);
}

TEST(Speculative, ScoresThatLeaveNothingAreAnError) {
  std::vector<float> target(3, kRemoved), draft = {0, 0, 0};
  Scores p(target);
  EXPECT_THROW(verify(p, Scores(draft), 1, {1, 2, 3}), Error);
}

}  // namespace
}  // namespace genkit::logits

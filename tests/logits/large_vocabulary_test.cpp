// Of a whole vocabulary the warpers look at the tokens near their border alone: the same ones stay as when
// every token is looked at.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "genkit/base/thread_pool.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

constexpr int kVocab = 20011;

std::vector<float> scores_of(unsigned seed, float spread) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(kVocab);
  for (float& v : out) v = normal(generator);
  for (int i = 0; i < 30; ++i) out[generator() % kVocab] = 4 * spread + normal(generator);
  for (int i = 0; i < 200; ++i) out[generator() % kVocab] = kRemoved;
  return out;
}

TEST(LargeVocabulary, WarpersKeepWhatTheyKeepOfEveryToken) {
  std::vector<std::pair<std::string, ProcessorPtr>> warpers;
  const auto add = [&](std::string name, ProcessorPtr warper) {
    warpers.emplace_back(std::move(name), std::move(warper));
  };
  for (const double x : {0.05, 0.5, 0.9, 0.99, 0.9999}) {
    add("top_p " + std::to_string(x), top_p(x));
    add("top_p keeping 3 " + std::to_string(x), top_p(x, 3));
    add("typical_p " + std::to_string(x), typical_p(x));
    add("min_p " + std::to_string(x), min_p(x));
    add("top_h " + std::to_string(x), top_h(x));
  }
  for (const double x : {0.0001, 0.01, 0.5}) {
    add("epsilon " + std::to_string(x), epsilon_cutoff(x));
    add("epsilon keeping 4 " + std::to_string(x), epsilon_cutoff(x, 4));
    add("eta " + std::to_string(x), eta_cutoff(x));
  }
  for (const int k : {1, 2, 50, 1000, 15000, 50000}) add("top_k " + std::to_string(k), top_k(k));
  add("mirostat", mirostat(3, 0.1));
  for (const float spread : {0.3f, 1.0f, 3.0f, 10.0f}) {
    for (unsigned seed = 0; seed < 4; ++seed) {
      const std::vector<float> start = scores_of(seed, spread);
      const double norm = log_sum_exp(start);
      for (const auto& [name, warper] : warpers) {
        std::vector<float> quick = start, slow = start;
        Scores dense(quick), sparse(slow);
        sparse.keep_if([](int32_t, float) { return true; });
        warper->apply({}, dense);
        warper->apply({}, sparse);
        // The norm of a whole vocabulary is summed in fp32 by stretches, of a list of tokens in double: they
        // differ by up to 5e-7, which can move a border by a token, or in the far tail by tokens that weigh
        // no more than that together.
        int different = 0;
        double mass = 0;
        for (int id = 0; id < kVocab; ++id) {
          if (quick[id] == slow[id]) continue;
          ++different;
          mass += std::exp(start[id] - norm);
        }
        EXPECT_TRUE(different <= 1 || mass < 5e-6)
            << name << ", spread " << spread << ", seed " << seed << ": " << different << " of mass " << mass;
      }
    }
  }
}

TEST(LargeVocabulary, DrawsAreWhereTheRunningSumPasses) {
  std::vector<float> values = scores_of(1, 2);
  const Scores dense(values);
  const double top = values[static_cast<size_t>(argmax(dense))];
  std::vector<double> sums = {0};
  for (const float v : values) sums.push_back(sums.back() + std::exp(v - top));
  for (uint64_t step = 0; step < 2000; ++step) {
    const DrawKey key{.seed = 9, .row = 0, .step = step};
    const auto id = static_cast<size_t>(sample(dense, key));
    const double target = uniform(key) * sums.back();
    // The stretches' sums are fp32.
    EXPECT_LE(sums[id], target + 2e-6 * sums.back()) << step;
    EXPECT_GE(sums[id + 1], target - 2e-6 * sums.back()) << step;
  }
}

TEST(LargeVocabulary, EachOfAStepsDrawsHasItsOwnNumber) {
  std::vector<float> values = scores_of(1, 0.5f), same = values;
  Scores dense(values), sparse(same);
  sparse.keep_if([](int32_t, float) { return true; });
  for (const uint16_t draw : {0, 1, 2}) {
    const DrawKey key{.seed = 5, .row = 0, .step = 1};
    EXPECT_EQ(sample(dense, key, draw), sample(sparse, key, draw)) << draw;
  }
}

TEST(LargeVocabulary, ThreadsChangeNoBit) {
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    for (const float spread : {0.3f, 3.0f}) {
      std::vector<float> values = scores_of(3, spread);
      Scores scores(values);
      for (const auto& warper : {temperature(0.7), xtc(1, 0.001, {}, 0), top_p(0.98), min_p(1e-4),
                                 typical_p(0.95), eta_cutoff(1e-5), dynamic_temperature(1, 0.5, 1)}) {
        warper->apply({}, scores);
      }
      results.push_back(values);
    }
  }
  set_num_threads(before);
  for (size_t i = 2; i < results.size(); ++i) {
    EXPECT_EQ(std::memcmp(results[i].data(), results[i % 2].data(), sizeof(float) * kVocab), 0) << i;
  }
}

TEST(LargeVocabulary, ExcludingTopChoicesLeavesWhatItLeavesOfEveryToken) {
  for (const double threshold : {0.03, 0.01, 0.0001}) {
    std::vector<float> quick = scores_of(4, 3), slow = quick;
    Scores dense(quick), sparse(slow);
    sparse.keep_if([](int32_t, float) { return true; });
    const auto warper = xtc(1, threshold, {}, 0);
    warper->apply({}, dense);
    warper->apply({}, sparse);
    EXPECT_EQ(quick, slow) << threshold;
    EXPECT_NE(quick, scores_of(4, 3)) << threshold;
  }
}

TEST(LargeVocabulary, WhatIsKnownOfScoresIsForgottenWhenTheyChange) {
  std::vector<float> values = scores_of(5, 1);
  Scores scores(values);
  EXPECT_NE(argmax(scores), 77);
  scores.values()[77] = 100;
  EXPECT_EQ(argmax(scores), 77);
  EXPECT_NEAR(log_sum_exp(scores), 100, 1e-6);
  divide(scores, 2);
  EXPECT_NEAR(log_sum_exp(scores), 50, 1e-6);
  scores.keep_only({78, 79});
  EXPECT_NE(argmax(scores), 77);
}

TEST(LargeVocabulary, EntropyIsThatOfEveryToken) {
  std::vector<float> values = scores_of(2, 2);
  Scores dense(values), sparse(values);
  sparse.keep_if([](int32_t, float) { return true; });
  EXPECT_NEAR(entropy(dense, log_sum_exp(dense)), entropy(sparse, log_sum_exp(sparse)), 1e-5);
}

}  // namespace
}  // namespace genkit::logits

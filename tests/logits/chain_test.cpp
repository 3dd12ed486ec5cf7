#include "genkit/logits/chain.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "genkit/base/error.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

using config::GenerationConfig;
using nlohmann::json;

config::EffectiveConfig resolved(const std::string& text) {
  return config::resolve({}, GenerationConfig::from_caller(json::parse(text), ""));
}

Chain chain_of(const config::EffectiveConfig& effective, const std::vector<int32_t>& prompt) {
  return Chain({.config = effective.values,
                .mode = effective.mode,
                .prompt = prompt,
                .max_length = 100,
                .vocab_size = 64});
}

std::vector<float> random_scores(unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> out(64);
  for (float& v : out) v = normal(generator);
  return out;
}

TEST(Chain, NeutralValuesAddNoProcessor) {
  const auto greedy =
      resolved(R"({"repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
      "bad_words_ids": [], "sequence_bias": [], "suppress_tokens": [], "min_new_tokens": 0, "renormalize_logits": false})");
  EXPECT_TRUE(chain_of(greedy, {1, 2}).empty());
  const auto sampling =
      resolved(R"({"do_sample": true, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0,
      "epsilon_cutoff": 0.0, "eta_cutoff": 0.0})");
  EXPECT_TRUE(chain_of(sampling, {1, 2}).empty());
}

TEST(Chain, WarpersLeaveADistributionAndNeverNothing) {
  const char* options[] = {
      R"({"temperature": 0.01, "top_k": 3, "top_p": 0.000001, "do_sample": true})",
      R"({"top_k": 0, "typical_p": 0.000001, "min_p": 1.0, "do_sample": true})",
      R"({"top_k": 0, "epsilon_cutoff": 0.999, "eta_cutoff": 0.999, "top_h": 0.0001, "do_sample": true})",
      R"({"top_k": 0, "top_p": 0.9, "renormalize_logits": true, "do_sample": true})"};
  for (const char* option : options) {
    const auto effective = resolved(option);
    const std::vector<int32_t> prompt = {1, 2, 3};
    const Chain chain = chain_of(effective, prompt);
    for (unsigned seed = 0; seed < 50; ++seed) {
      std::vector<float> values = random_scores(seed);
      Scores scores(values);
      chain.apply({prompt}, scores);
      double sum = 0;
      int left = 0;
      const double norm = log_sum_exp(values);
      for (const float v : values) {
        left += v > kRemoved;
        sum += std::exp(v - norm);
      }
      EXPECT_GE(left, 1) << option;
      EXPECT_NEAR(sum, 1, 1e-6) << option;
      EXPECT_EQ(scores.count(), static_cast<size_t>(left)) << option;
    }
  }
}

TEST(Chain, SparseAndDenseScoresGiveTheSame) {
  // The same scores, once with the removed entries known to be removed and once not.
  for (const char* option : {R"({"top_k": 0, "top_p": 0.7, "do_sample": true})",
                             R"({"top_k": 0, "typical_p": 0.6, "do_sample": true})",
                             R"({"top_k": 0, "min_p": 0.2, "do_sample": true})",
                             R"({"top_k": 0, "eta_cutoff": 0.1, "do_sample": true})"}) {
    const auto effective = resolved(option);
    const Chain chain = chain_of(effective, {1});
    for (unsigned seed = 0; seed < 20; ++seed) {
      std::vector<float> sparse_values = random_scores(seed);
      Scores sparse(sparse_values);
      top_k(20)->apply({}, sparse);
      std::vector<float> dense_values = sparse_values;
      Scores dense(dense_values);
      chain.apply({}, sparse);
      chain.apply({}, dense);
      EXPECT_EQ(sparse_values, dense_values) << option;
    }
  }
}

TEST(Chain, ScoresThatAreNoNumbersPassThroughToTheChoice) {
  const auto effective = resolved(
      R"({"do_sample": true, "top_k": 0, "top_p": 0.5, "typical_p": 0.5, "min_p": 0.1, "top_h": 0.5})");
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> values = random_scores(3);
    values[9] = bad;
    Scores scores(values);
    EXPECT_NO_THROW(chain_of(effective, {1}).apply({}, scores));
  }
}

TEST(Chain, UserProcessorsRunBeforeTheWarpers) {
  const auto effective = resolved(R"({"do_sample": true, "top_k": 1})");
  const std::vector<int32_t> prompt = {4, 5};
  std::vector<int32_t> seen;
  const std::vector<UserProcessor> users = {[&](std::span<const int32_t> ids, std::span<float> scores) {
    seen.assign(ids.begin(), ids.end());
    scores[7] = 100;
  }};
  const Chain chain({.config = effective.values,
                     .mode = effective.mode,
                     .prompt = prompt,
                     .max_length = 9,
                     .vocab_size = 64,
                     .user_processors = users});
  std::vector<float> values = random_scores(1);
  Scores scores(values);
  chain.apply({prompt}, scores);
  EXPECT_EQ(seen, prompt);
  EXPECT_EQ(values[7], 100);
  EXPECT_EQ(scores.count(), 1u);
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "(no exception)";
}

TEST(Chain, IdsOutsideTheVocabularyAreRefusedByOption) {
  EXPECT_EQ(error_of([] { chain_of(resolved(R"({"sequence_bias": [[[64], 1.0]]})"), {1}); }),
            "sequence_bias: id 64 is outside the vocabulary of 64");
  EXPECT_EQ(error_of([] { chain_of(resolved(R"({"bad_words_ids": [[1, 99]]})"), {1}); }),
            "bad_words_ids: id 99 is outside the vocabulary of 64");
  EXPECT_EQ(error_of([] { chain_of(resolved(R"({"forced_bos_token_id": 64})"), {1}); }),
            "forced_bos_token_id: id 64 is outside the vocabulary of 64");
  EXPECT_EQ(error_of([] { chain_of(resolved(R"({"exponential_decay_length_penalty": [1, 1.5]})"), {1}); }),
            "exponential_decay_length_penalty: needs an eos_token_id");
}

}  // namespace
}  // namespace genkit::logits

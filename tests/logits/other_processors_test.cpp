// Processors that transformers does not have, or of which nothing is recorded: held against their
// definitions, written out the slow way.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "genkit/base/error.h"
#include "genkit/logits/chain.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

using Ids = std::vector<int32_t>;

std::vector<float> random_scores(unsigned seed, int vocab = 64) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> out(static_cast<size_t>(vocab));
  for (float& v : out) v = normal(generator);
  return out;
}

std::vector<float> applied(const Processor& processor, const Ids& ids, std::vector<float> values) {
  Scores scores(values);
  processor.apply({ids}, scores);
  return values;
}

TEST(FrequencyPenalty, CountsNewTokensOrThePromptToo) {
  const Ids ids = {5, 5, 7, 9, 7, 7};  // the prompt has three
  const std::vector<float> zeros(10, 0.0f);
  std::vector<float> want(10, 0.0f);
  want[9] = -0.75f;
  want[7] = -0.25f * 2 - 0.5f;
  EXPECT_EQ(applied(*frequency_penalty(0.25, 0.5, 3), ids, zeros), want);
  want[5] = -0.25f * 2 - 0.5f;
  want[7] = -0.25f * 3 - 0.5f;
  EXPECT_EQ(applied(*frequency_penalty(0.25, 0.5, 0), ids, zeros), want);
}

TEST(RepetitionPenalty, LooksAtTheNewestIdsOfAContextSize) {
  const std::vector<float> ones(8, 1.0f);
  const Ids ids = {1, 2, 3, 4};
  EXPECT_EQ(applied(*repetition_penalty(2, 0, 2), ids, ones),
            (std::vector<float>{1, 1, 1, 0.5f, 0.5f, 1, 1, 1}));
  EXPECT_EQ(applied(*repetition_penalty(2, 0, 9), ids, ones), applied(*repetition_penalty(2, 0), ids, ones));
}

TEST(LogitBias, IsAddedAndChecked) {
  const config::LogitBias biases{{{1, 2.5}, {3, -100}}};
  EXPECT_EQ(applied(*logit_bias(biases, 4), {}, {0, 1, 2, 3}), (std::vector<float>{0, 3.5f, 2, -97}));
  try {
    logit_bias({{{4, 1}}}, 4);
    FAIL() << "an id outside the vocabulary was accepted";
  } catch (const ArgumentError& error) {
    EXPECT_STREQ(error.what(), "logit_bias: id 4 is outside the vocabulary of 4");
  }
}

TEST(ForcedTokens, ByNewPosition) {
  const ProcessorPtr forced = forced_tokens({{0, 2}, {2, 1}}, 3, 4);
  const std::vector<float> scores = {4, 3, 2, 1};
  EXPECT_EQ(applied(*forced, {0, 0, 0}, scores), (std::vector<float>{kRemoved, kRemoved, 0, kRemoved}));
  EXPECT_EQ(applied(*forced, {0, 0, 0, 2}, scores), scores);
  EXPECT_EQ(applied(*forced, {0, 0, 0, 2, 0}, scores), (std::vector<float>{kRemoved, 0, kRemoved, kRemoved}));
}

/// DRY as its author defines it: for each id the longest end of the context that occurs before with that id
/// after it, no breaker in it.
std::map<int32_t, int> repetitions(const Ids& ids, const std::set<int32_t>& breakers) {
  std::map<int32_t, int> out;
  const size_t n = ids.size();
  for (size_t next = 1; next < n; ++next) {
    size_t length = 0;
    while (length < next && ids[next - 1 - length] == ids[n - 1 - length] &&
           !breakers.contains(ids[n - 1 - length])) {
      ++length;
    }
    int& most = out[ids[next]];
    most = std::max(most, static_cast<int>(length));
  }
  return out;
}

TEST(Dry, IsItsDefinition) {
  // Token 0 is "\n", 1 ends in a colon, 2 begins the breaker "##" and 3 can end it.
  const std::vector<std::string> texts = {"\n", "so:", "x#", "#y", "a", "b", "c", "d"};
  const TokenBytes bytes = [&](int32_t id) { return texts.at(static_cast<size_t>(id)); };
  std::mt19937 generator(4);
  int acted = 0;
  for (int trial = 0; trial < 400; ++trial) {
    Ids ids(generator() % 60);
    for (int32_t& id : ids) id = static_cast<int32_t>(generator() % 5) * 7 / 4 % 8;
    const DryOptions options{
        .multiplier = 0.8, .base = 1.5, .allowed_length = 1 + trial % 3, .breakers = {"\n", ":"}};
    std::vector<float> want(8, 0.0f);
    for (const auto& [id, length] : repetitions(ids, {0, 1})) {
      if (length < options.allowed_length || id < 2) continue;
      want[static_cast<size_t>(id)] =
          -static_cast<float>(0.8 * std::pow(1.5, length - options.allowed_length));
      ++acted;
    }
    EXPECT_EQ(applied(*dry(options, 0, bytes), ids, std::vector<float>(8, 0.0f)), want) << trial;
  }
  EXPECT_GT(acted, 100);
  // A breaker that two tokens spell.
  const DryOptions options{.multiplier = 1, .base = 2, .allowed_length = 2, .breakers = {"##"}};
  const Ids ids = {4, 2, 3, 5, 6, 4, 2, 3, 5};
  EXPECT_EQ(applied(*dry(options, 0, bytes), ids, std::vector<float>(8, 0.0f)), std::vector<float>(8, 0.0f));
  const DryOptions unbroken{.multiplier = 1, .base = 2, .allowed_length = 2, .breakers = {}};
  EXPECT_EQ(applied(*dry(unbroken, 0, {}), ids, std::vector<float>(8, 0.0f))[6], -4.0f);
}

TEST(Dry, LooksAtTheLastNAndPassesOverPadding) {
  const Ids ids = {4, 5, 6, 4, 5};
  DryOptions options{.multiplier = 1, .base = 2, .allowed_length = 2, .breakers = {}};
  const std::vector<float> zeros(8, 0.0f);
  EXPECT_EQ(applied(*dry(options, 0, {}), ids, zeros)[6], -1.0f);
  EXPECT_EQ(applied(*dry(options, 1, {}), ids, zeros), zeros);
  options.last_n = 4;
  EXPECT_EQ(applied(*dry(options, 0, {}), ids, zeros), zeros);
  options.last_n = 0;
  EXPECT_EQ(applied(*dry(options, 0, {}), ids, zeros), zeros);
}

TEST(Dry, ALongRepetitionIsLinearAndFinite) {
  const Ids ids(20000, 4);
  const DryOptions options{.multiplier = 1, .base = 2, .allowed_length = 2, .breakers = {}};
  const auto scores = applied(*dry(options, 0, {}), ids, std::vector<float>(8, 1.0f));
  EXPECT_EQ(scores[4], -std::numeric_limits<float>::max());
}

TEST(Xtc, LeavesTheLeastProbableOfTheTopChoices) {
  // 0.4, 0.3, 0.2, 0.1
  const std::vector<float> scores = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  const std::vector<float> want = {kRemoved, kRemoved, scores[2], scores[3]};
  EXPECT_EQ(applied(*xtc(1, 0.15, {}, 0), {}, scores), want);
  EXPECT_EQ(applied(*xtc(1, 0.35, {}, 0), {}, scores), scores);  // one alone stays
  EXPECT_EQ(applied(*xtc(0, 0.15, {}, 0), {}, scores), scores);
}

TEST(Xtc, ActsAsOftenAsItSaysByStepAndRow) {
  const std::vector<float> scores = {0, 0, -9, -9};
  int acted = 0;
  Ids ids;
  constexpr int kSteps = 4000;
  const ProcessorPtr first = xtc(0.3, 0.1, {.seed = 5, .row = 2, .step = 0}, 0);
  const ProcessorPtr same = xtc(0.3, 0.1, {.seed = 5, .row = 2, .step = 9}, 0);
  for (int step = 0; step < kSteps; ++step) {
    const auto out = applied(*first, ids, scores);
    EXPECT_EQ(out, applied(*same, ids, scores));
    acted += out != scores;
    ids.push_back(1);
  }
  // Five standard deviations of a binomial distribution.
  EXPECT_NEAR(acted, 0.3 * kSteps, 5 * std::sqrt(kSteps * 0.3 * 0.7));
}

TEST(DynamicTemperature, FollowsTheEntropy) {
  // Even scores have all the entropy there is, a sure one none.
  const std::vector<float> even = {2, 2, 2, 2};
  EXPECT_EQ(applied(*dynamic_temperature(1, 0.5, 1), {}, even), (std::vector<float>(4, 2 / 1.5f)));
  const auto sure = applied(*dynamic_temperature(1, 0.5, 1), {}, {100, 0, 0, 0});
  EXPECT_NEAR(sure[0], 200, 1e-4);
  const std::vector<float> scores = {std::log(0.5f), std::log(0.25f), std::log(0.25f), kRemoved};
  const double share = 1.5 * std::log(2) / std::log(3);
  const double temperature = 0.2 + 1.6 * std::pow(share, 2);
  EXPECT_NEAR(applied(*dynamic_temperature(1, 0.8, 2), {}, scores)[1], std::log(0.25) / temperature, 1e-5);
  // A temperature of zero leaves the best token.
  const std::vector<float> certain = {500, 0};
  EXPECT_EQ(applied(*dynamic_temperature(1, 1, 1), {}, certain), (std::vector<float>{500, kRemoved}));
}

TEST(Mirostat, KeepsItsSurpriseAtTau) {
  // Over many draws from one distribution the mean surprise comes to tau.
  const double tau = 2.5;
  const ProcessorPtr processor = mirostat(tau, 0.1);
  double total = 0;
  constexpr int kSteps = 6000, kSettled = 500;
  for (int step = 0; step < kSteps; ++step) {
    // Flat enough that there is that much surprise to be had: six bits are the most.
    std::vector<float> values = random_scores(9);
    for (float& value : values) value *= 0.3f;
    Scores scores(values);
    processor->apply({Ids{}}, scores);
    const int32_t id = sample(scores, {.seed = 3, .row = 0, .step = static_cast<uint64_t>(step)});
    if (step >= kSettled) total += (log_sum_exp(scores) - values[static_cast<size_t>(id)]) / std::log(2.0);
    processor->observe(scores, id);
  }
  EXPECT_NEAR(total / (kSteps - kSettled), tau, 0.05);
}

TEST(Mirostat, TheFirstStepKeepsWhatIsWithinTwiceTau) {
  const std::vector<float> scores = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(applied(*mirostat(1, 0.1), {}, scores),
            (std::vector<float>{scores[0], scores[1], kRemoved, kRemoved}));
  // The best one stays however surprising it is.
  EXPECT_EQ(applied(*mirostat(0.1, 0.1), {}, scores),
            (std::vector<float>{scores[0], kRemoved, kRemoved, kRemoved}));
}

TEST(Watermark, SelfHashIsWhatTransformersDoes) {
  // Recorded from transformers 5.23's WatermarkLogitsProcessor with torch 2.15.
  struct Case {
    uint64_t key;
    int width;
    double ratio;
    Ids green;
  };
  const Case cases[] = {
      {15485863, 1, 0.25, {19, 25, 26, 34, 52, 53, 59}},
      {15485863, 3, 0.4, {17, 19, 21, 24, 25, 26, 31, 32, 34, 35, 39, 52, 53}},
      {(uint64_t{1} << 61) + 12345, 2, 0.3, {6, 9, 11, 12, 19, 26, 27, 31, 35, 39, 40, 50, 52, 53}}};
  std::vector<float> scores(60);
  for (int i = 0; i < 60; ++i)
    scores[static_cast<size_t>(i)] = static_cast<float>((i * 37 + 11) % 61) * 0.25f - 7;
  for (const Case& c : cases) {
    const config::Watermark options{.scheme = config::Watermark::Scheme::kSelfHash,
                                    .greenlist_ratio = c.ratio,
                                    .bias = 1.5,
                                    .hashing_key = c.key,
                                    .context_width = c.width};
    const auto out = applied(*watermark(options), {3, 9, 27, 41, 8}, scores);
    std::vector<float> want = scores;
    for (const int32_t id : c.green) want[static_cast<size_t>(id)] += 1.5f;
    EXPECT_EQ(out, want) << c.key << " " << c.width;
  }
}

}  // namespace
}  // namespace genkit::logits

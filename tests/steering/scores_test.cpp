// What texts and models score, against plain arithmetic over the logits of whole passes.
#include "genkit/steering/scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/steering/hooks.h"

namespace genkit::steering {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Ids = std::vector<int32_t>;

fs::path goldens() { return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens"; }

class Scores : public testing::Test {
 protected:
  void SetUp() override {
    io::Checkpoint checkpoint = io::Checkpoint::open(goldens() / "models" / "llama");
    model_ = models::load_model(checkpoint);
    std::mt19937 generator(8);
    for (const size_t length : {5, 1, 9, 3}) {
      Ids& ids = prompts_.emplace_back(length);
      for (int32_t& id : ids) id = 3 + static_cast<int32_t>(generator() % 400);
    }
  }
  /// log-probabilities [tokens][vocab] of one sequence alone.
  std::vector<std::vector<double>> logprobs(const Ids& ids,
                                            const std::vector<models::ForwardHook*>& hooks = {}) {
    models::ForwardInput input;
    input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
    models::RowSpan row;
    row.length = static_cast<int>(ids.size());
    input.rows = {row};
    input.logits = models::LogitsFor::kAll;
    mx::array logits = mx::contiguous(*model_->forward(input, nullptr, hooks).logits);
    logits.eval();
    const auto vocab = static_cast<size_t>(logits.shape(1));
    std::vector<std::vector<double>> out;
    for (size_t t = 0; t < ids.size(); ++t) {
      const float* x = logits.data<float>() + t * vocab;
      double sum = 0;
      for (size_t k = 0; k < vocab; ++k) sum += std::exp(static_cast<double>(x[k]));
      std::vector<double>& row_out = out.emplace_back();
      for (size_t k = 0; k < vocab; ++k) row_out.push_back(x[k] - std::log(sum));
    }
    return out;
  }
  std::vector<float> direction() const {
    std::vector<float> out(static_cast<size_t>(model_->components().hidden_size));
    for (size_t i = 0; i < out.size(); ++i) out[i] = std::sin(static_cast<float>(i));
    return out;
  }

  std::unique_ptr<models::Model> model_;
  std::vector<Ids> prompts_;
};

TEST_F(Scores, ProjectionsAreDotProductsWithTheUnitVector) {
  std::vector<TokenSequence> texts;
  for (const Ids& ids : prompts_) texts.push_back({.ids = ids, .begin = 1, .where = "text"});
  const std::vector<float> v = direction();
  const auto scores = project(*model_, texts, 1, v);
  ASSERT_EQ(scores.size(), texts.size());
  VisitOptions options{.blocks = {1}, .hooks = {}, .tokens_per_pass = 1, .progress = {}};
  visit_states(*model_, texts, options, [&](size_t i, int, std::span<const float> x) {
    double sum = 0, squares = 0;
    for (const float f : v) squares += static_cast<double>(f) * f;
    ASSERT_EQ(scores[i].tokens.size(), texts[i].ids.size());
    for (size_t t = 0; t < texts[i].ids.size(); ++t) {
      double along = 0, own = 0;
      for (size_t k = 0; k < v.size(); ++k) {
        along += static_cast<double>(x[t * v.size() + k]) * v[k];
        own += static_cast<double>(x[t * v.size() + k]) * x[t * v.size() + k];
      }
      EXPECT_NEAR(scores[i].tokens[t], along / std::sqrt(squares), 1e-4);
      EXPECT_NEAR(scores[i].cosines[t], along / std::sqrt(squares * own), 1e-5);
      if (t > 0) sum += along / std::sqrt(squares);
    }
    if (texts[i].ids.size() == 1) {
      EXPECT_TRUE(std::isnan(scores[i].mean));
    } else {
      EXPECT_NEAR(scores[i].mean, sum / static_cast<double>(texts[i].ids.size() - 1), 1e-4);
    }
  });
  // A longer vector is the same direction.
  std::vector<float> twice = v;
  for (float& f : twice) f *= 2;
  EXPECT_NEAR(project(*model_, texts, 1, twice)[0].mean, scores[0].mean, 1e-4);
  EXPECT_THAT(
      [&] {
        project(*model_, texts, 1, {1, 2});
      },
      ThrowsMessage<ArgumentError>(HasSubstr("direction: 2 numbers")));
  EXPECT_THAT([&] { project(*model_, texts, 1, std::vector<float>(v.size(), 0.0f)); },
              ThrowsMessage<ArgumentError>("direction: has length 0"));
}

TEST_F(Scores, NextTokensOfABatchAreThoseOfEachAlone) {
  const std::vector<float> v = direction();
  ResidualInjectionHook hook(1, mx::array(v.data(), {static_cast<int>(v.size())}, mx::float32), 0.7);
  for (const bool steered : {false, true}) {
    std::vector<models::ForwardHook*> hooks;
    if (steered) hooks.push_back(&hook);
    size_t seen = 0;
    next_token_logprobs(*model_, prompts_, hooks, [&](size_t i, std::span<const float> got) {
      EXPECT_EQ(i, seen++);
      const auto expected = logprobs(prompts_[i], hooks).back();
      for (size_t k = 0; k < expected.size(); ++k) ASSERT_NEAR(got[k], expected[k], 1e-4);
    });
    EXPECT_EQ(seen, prompts_.size());
  }
}

TEST_F(Scores, SurpriseIsMinusTheLogprobOfEveryTokenAfterItsBegin) {
  std::vector<TokenSequence> texts;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    texts.push_back({.ids = prompts_[i], .begin = static_cast<int>(i), .where = "text"});
  }
  const auto scores = surprise(*model_, texts);
  double nats = 0;
  size_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto p = logprobs(prompts_[i]);
    double expected = 0;
    size_t count = 0;
    for (size_t t = std::max<size_t>(1, i); t < prompts_[i].size(); ++t, ++count) {
      expected -= p[t - 1][static_cast<size_t>(prompts_[i][t])];
    }
    EXPECT_EQ(scores[i].tokens, count);
    EXPECT_NEAR(scores[i].nats, expected, 1e-3);
    nats += expected;
    tokens += count;
  }
  EXPECT_NEAR(perplexity(scores), std::exp(nats / static_cast<double>(tokens)), 1e-2);
  EXPECT_TRUE(std::isnan(perplexity({})));
}

TEST(Divergence, OfDistributionsKnownByHand) {
  const std::vector<float> p = {std::log(0.5f), std::log(0.5f), -INFINITY},
                           q = {std::log(0.25f), std::log(0.5f), std::log(0.25f)};
  EXPECT_NEAR(kl_divergence(p, q), 0.5 * std::log(2.0), 1e-6);
  EXPECT_EQ(kl_divergence(q, q), 0);
}

TEST(Distinct, CountsNgrams) {
  EXPECT_DOUBLE_EQ(distinct_n({{1, 2, 1, 2}}, 1), 0.5);
  EXPECT_DOUBLE_EQ(distinct_n({{1, 2, 1, 2}}, 2), 2.0 / 3);
  EXPECT_DOUBLE_EQ(distinct_n({{1, 2}, {1, 2}}, 2), 0.5);
  EXPECT_TRUE(std::isnan(distinct_n({{1}}, 2)));
}

TEST(Words, AreSingleTokensWithTheirForms) {
  const auto tokenizer = text::Tokenizer::load(goldens() / "tokenizers" / "bytebpe_llama3");
  // Whichever words this vocabulary has as single tokens.
  std::vector<std::string> found;
  for (int32_t id = 0; id < tokenizer->vocab_size() && found.size() < 4; ++id) {
    const std::string text = tokenizer->token_bytes(id);
    if (tokenizer->is_special(id) || text.size() < 3 || text[0] == ' ') continue;
    if (std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      found.push_back(text);
  }
  ASSERT_EQ(found.size(), 4u);
  const WordLists lists = word_lists(*tokenizer, {found[0], found[1]}, {found[2], found[3]});
  EXPECT_GE(lists.positive.size(), 2u);
  std::vector<float> logits(static_cast<size_t>(tokenizer->vocab_size()), 0.0f);
  EXPECT_NEAR(log_odds(logits, lists),
              std::log(double(lists.positive.size()) / double(lists.negative.size())), 1e-6);
  for (const int32_t id : lists.positive) logits[static_cast<size_t>(id)] += 3;
  EXPECT_NEAR(log_odds(logits, lists),
              3 + std::log(double(lists.positive.size()) / double(lists.negative.size())), 1e-6);
  EXPECT_THAT([&] { word_lists(*tokenizer, {"qzxjv wvvk"}, {found[0]}); },
              ThrowsMessage<ArgumentError>("words: \"qzxjv wvvk\" is no single token of this vocabulary"));
  EXPECT_THAT([&] { word_lists(*tokenizer, {found[0]}, {found[0]}); },
              ThrowsMessage<ArgumentError>(HasSubstr("is in both lists")));
}

}  // namespace
}  // namespace genkit::steering

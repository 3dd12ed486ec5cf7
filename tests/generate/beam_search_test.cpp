#include "genkit/generate/beam_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "genkit/base/error.h"
#include "genkit/generate/session.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::vector<Ids> random_prompts(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<Ids> out(count);
  for (Ids& ids : out) {
    ids.resize(1 + generator() % 70);  // some longer than a page of the cache
    for (int32_t& id : ids) id = static_cast<int32_t>(generator() % FakeModel::kVocab);
  }
  return out;
}

GenerationResult run(const FakeModel& model, const std::vector<Ids>& prompts, const json& config,
                     int chunk = 512) {
  GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  request.config = GenerationConfig::from_caller(config, "");
  request.prefill_chunk = chunk;
  return generate(model, nullptr, request);
}

void expect_same(const GeneratedRow& a, const GeneratedRow& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.beam_indices, b.beam_indices);
  EXPECT_EQ(a.sequence_score, b.sequence_score);
  ASSERT_EQ(a.others.size(), b.others.size());
  for (size_t i = 0; i < a.others.size(); ++i) expect_same(a.others[i], b.others[i]);
}

/// Sampling and not, with EOS and without, short and long pasts.
std::vector<json> configs() {
  const json base = {{"num_beams", 3}, {"num_return_sequences", 3}, {"max_new_tokens", 9}, {"seed", 5}};
  std::vector<json> out(4, base);
  out[1]["eos_token_id"] = {5, 9};
  out[1]["early_stopping"] = true;
  out[2]["do_sample"] = true;
  out[2]["eos_token_id"] = 7;
  out[3]["guidance_scale"] = 1.5;
  out[3]["repetition_penalty"] = 1.3;
  return out;
}

TEST(BeamSearch, APromptGetsTheSameAloneAndInABatchOfAnyChunking) {
  const FakeModel model;
  const std::vector<Ids> prompts = random_prompts(5, 3);
  for (const json& config : configs()) {
    const GenerationResult whole = run(model, prompts, config);
    for (size_t i = 0; i < prompts.size(); ++i) {
      GenerationRequest request;
      request.prompts.push_back({.ids = prompts[i], .row_key = i});
      request.config = GenerationConfig::from_caller(config, "");
      expect_same(generate(model, nullptr, request).rows[0], whole.rows[i]);
    }
    const GenerationResult chunked = run(model, prompts, config, 7);
    for (size_t i = 0; i < prompts.size(); ++i) expect_same(chunked.rows[i], whole.rows[i]);
  }
}

TEST(BeamSearch, TheCacheChangesNothing) {
  FakeModel model;
  for (const bool border : {false, true}) {
    if (border) model.border = 20;
    for (json config : configs()) {
      const GenerationResult cached = run(model, random_prompts(4, 8), config);
      config["use_cache"] = false;
      const GenerationResult computed = run(model, random_prompts(4, 8), config);
      for (size_t i = 0; i < cached.rows.size(); ++i) expect_same(cached.rows[i], computed.rows[i]);
    }
  }
}

TEST(BeamSearch, OneBeamIsGreedyDecoding) {
  const FakeModel model;
  for (const Ids& prompt : random_prompts(6, 4)) {
    const json config = {{"max_new_tokens", 12}, {"eos_token_id", {5, 9}}};
    RowSetup setup;
    setup.prompt = {.ids = prompt, .tokens = prompt, .padding = 0};
    setup.prompt.max_length = static_cast<int>(prompt.size()) + 12;
    setup.config = config::resolve({}, GenerationConfig::from_caller(config, ""));
    setup.vocab_size = FakeModel::kVocab;
    BeamSearch search(std::move(setup));
    cache::KvCache cache = model.make_cache();
    std::vector<StreamEvent> events;
    while (!search.done()) {
      const std::vector<Feed> feeds = search.plan(cache);
      ASSERT_EQ(feeds.size(), 1u);
      models::ForwardInput input;
      input.tokens = mx::array(feeds[0].tokens.data(), {static_cast<int>(feeds[0].tokens.size())}, mx::int32);
      input.rows = {{.length = static_cast<int>(feeds[0].tokens.size()),
                     .slot = feeds[0].slot,
                     .position = cache.length(feeds[0].slot)}};
      input.logits = models::LogitsFor::kLast;
      mx::array logits = *model.forward(input, &cache, {}).logits;
      logits.eval();
      FeedOutput output;
      output.begin(0);
      output.add_logits({logits.data<float>(), FakeModel::kVocab}, FakeModel::kVocab, logits);
      search.advance(cache, {&output, 1}, events);
    }
    search.release(cache);
    EXPECT_EQ(search.take().ids, run(model, {prompt}, config).rows[0].ids);
  }
}

TEST(BeamSearch, MoreBeamsThanContinuationsFindTheBestOfAll) {
  const FakeModel model;
  // With a beam for every first token nothing is pruned before the second.
  const GenerationResult found = run(
      model, {{3, 4}}, {{"num_beams", FakeModel::kVocab}, {"max_new_tokens", 2}, {"output_logits", true}});
  float best = -INFINITY;
  Ids best_ids;
  const auto log_softmax = [](const std::vector<float>& logits, int id) {
    double sum = 0;
    for (const float v : logits) sum += std::exp(double{v});
    return logits[static_cast<size_t>(id)] - std::log(sum);
  };
  for (int a = 0; a < FakeModel::kVocab; ++a) {
    const auto first =
        run(model, {{3, 4}}, {{"max_new_tokens", 1}, {"output_logits", true}}).rows[0].logits[0];
    const auto second =
        run(model, {{3, 4, a}}, {{"max_new_tokens", 1}, {"output_logits", true}}).rows[0].logits[0];
    for (int b = 0; b < FakeModel::kVocab; ++b) {
      const auto score = static_cast<float>(log_softmax(first, a) + log_softmax(second, b));
      if (score > best) {
        best = score;
        best_ids = {a, b};
      }
    }
  }
  EXPECT_EQ(found.rows[0].ids, best_ids);
  EXPECT_NEAR(*found.rows[0].sequence_score, best / 2, 1e-4);
}

TEST(BeamSearch, BeamsShareThePromptsPagesAndGiveAllBack) {
  const FakeModel model;
  Ids prompt(320);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i % FakeModel::kVocab);
  GenerationSession session(model, nullptr, {});
  session.add({.ids = prompt}, GenerationConfig::from_caller({{"num_beams", 4}, {"max_new_tokens", 30}}, ""));
  std::set<const void*> first_pages;
  while (session.step()) {
    for (int slot = 0; slot < 4; ++slot) {
      ASSERT_GE(session.cache().length(slot), static_cast<int>(prompt.size()));
      first_pages.insert(session.cache().store(slot, 0)->page_at(0).keys());
    }
  }
  EXPECT_EQ(first_pages.size(), 1u);
  EXPECT_EQ(session.cache().bytes(), 0u);
  EXPECT_THAT(session.events(), testing::SizeIs(1));
  EXPECT_TRUE(session.events()[0].finished);
  EXPECT_EQ(session.events()[0].token, -1);
}

TEST(BeamSearch, ACancelledPromptGivesTheBestSoFar) {
  const FakeModel model;
  GenerationSession session(model, nullptr, {});
  const json config = {{"num_beams", 4}, {"max_new_tokens", 30}, {"num_return_sequences", 2}};
  const size_t row = session.add({.ids = {1, 2, 3}}, GenerationConfig::from_caller(config, ""));
  for (int i = 0; i < 5; ++i) session.step();
  session.cancel(row);
  const GeneratedRow result = session.take(row);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(result.ids.size(), 5u);
  ASSERT_EQ(result.others.size(), 1u);
  EXPECT_GE(*result.sequence_score, *result.others[0].sequence_score);
  EXPECT_EQ(session.cache().bytes(), 0u);
}

TEST(BeamSearch, MoreEosIdsThanTheVocabularyBearsAreRefused) {
  const FakeModel model;
  json config = {{"num_beams", 2}};
  for (int id = 0; id < FakeModel::kVocab; ++id) config["eos_token_id"].push_back(id);
  try {
    run(model, {{1, 2}}, config);
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_STREQ(error.what(),
                 "eos_token_id: with 48 of them each step looks at 98 continuations, and 2 beams have 96");
  }
}

TEST(DrawContinuations, FollowsTheDistributionWithoutReplacement) {
  // Of two tokens drawn from (0.5, 0.3, 0.2), spread over two beams, the pair's order has probability
  // p(a) * p(b) / (1 - p(a)).
  const std::vector<float> a = {std::log(0.5f), logits::kRemoved}, b = {std::log(0.3f), std::log(0.2f)};
  const std::vector<std::span<const float>> scores = {a, b};
  const std::map<std::pair<int, int>, double> mass = {{{0, 0}, 0.5}, {{1, 0}, 0.3}, {{1, 1}, 0.2}};
  std::map<std::pair<std::pair<int, int>, std::pair<int, int>>, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const auto got = draw_continuations(scores, 2, {.seed = 9, .row = 1, .step = static_cast<uint64_t>(i)});
    ASSERT_EQ(got.size(), 2u);
    ++counts[{{got[0].beam, got[0].token}, {got[1].beam, got[1].token}}];
  }
  double chi_square = 0;
  for (const auto& [first, p] : mass) {
    for (const auto& [second, q] : mass) {
      if (first == second) continue;
      const double expected = kDraws * p * q / (1 - p);
      chi_square += std::pow(counts[{first, second}] - expected, 2) / expected;
    }
  }
  EXPECT_LT(chi_square, 20.5);  // 5 degrees of freedom, one in a thousand
}

TEST(DrawContinuations, FillsUpWithTheBestOfWhatCannotBeDrawn) {
  const std::vector<float> a = {0, logits::kRemoved, -1e9f}, b = {-2e9f, -1e9f, logits::kRemoved};
  const std::vector<std::span<const float>> scores = {a, b};
  const auto got = draw_continuations(scores, 4, {});
  std::vector<std::pair<int, int32_t>> places;
  for (const Continuation& next : got) places.emplace_back(next.beam, next.token);
  EXPECT_EQ(places, (std::vector<std::pair<int, int32_t>>{{0, 0}, {0, 2}, {1, 1}, {1, 0}}));
}

}  // namespace
}  // namespace genkit::generate

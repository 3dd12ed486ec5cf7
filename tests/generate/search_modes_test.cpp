// Diverse and constrained beams, forced words without beams: what holds for any model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "genkit/base/error.h"
#include "genkit/generate/beam_search.h"
#include "genkit/generate/diverse_beam_search.h"
#include "genkit/generate/session.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;
using Words = std::vector<std::vector<Ids>>;  ///< each a list of alternatives

std::mt19937 random_numbers(unsigned seed) { return std::mt19937(seed); }

Ids random_ids(std::mt19937& random, size_t count) {
  Ids out(count);
  for (int32_t& id : out) id = static_cast<int32_t>(random() % FakeModel::kVocab);
  return out;
}

std::vector<Ids> random_prompts(size_t count, unsigned seed) {
  std::mt19937 random = random_numbers(seed);
  std::vector<Ids> out;
  for (size_t i = 0; i < count; ++i) out.push_back(random_ids(random, 1 + random() % 70));
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

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no exception)";
}

void expect_same(const GeneratedRow& a, const GeneratedRow& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.beam_indices, b.beam_indices);
  EXPECT_EQ(a.sequence_score, b.sequence_score);
  ASSERT_EQ(a.others.size(), b.others.size());
  for (size_t i = 0; i < a.others.size(); ++i) expect_same(a.others[i], b.others[i]);
}

/// One of every mode here, with and without EOS, processors and guidance.
std::vector<json> configs() {
  const json diverse = {{"num_beams", 6},
                        {"num_beam_groups", 3},
                        {"diversity_penalty", 0.7},
                        {"num_return_sequences", 4},
                        {"max_new_tokens", 9}};
  const json constrained = {
      {"num_beams", 3},
      {"force_words_ids", json::array({json::array({7, 8}), json::parse("[[9], [10, 11]]")})},
      {"num_return_sequences", 2},
      {"max_new_tokens", 9}};
  std::vector<json> out = {diverse, diverse, constrained, constrained};
  out[1]["eos_token_id"] = {5, 9};
  out[1]["repetition_penalty"] = 1.3;
  out[3]["eos_token_id"] = {5, 40};
  out[3]["guidance_scale"] = 1.5;
  const json words = {{"force_words_ids", constrained["force_words_ids"]}, {"max_new_tokens", 9}};
  out.push_back(words);
  out.push_back(words);
  out.back()["do_sample"] = true;
  out.back()["seed"] = 3;
  return out;
}

TEST(SearchModes, APromptGetsTheSameAloneAndInABatchOfAnyChunking) {
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

TEST(SearchModes, PromptsInDifferentModesShareABatch) {
  const FakeModel model;
  const std::vector<json> all = configs();
  const std::vector<Ids> prompts = random_prompts(all.size(), 6);
  GenerationRequest request;
  for (size_t i = 0; i < all.size(); ++i) {
    request.prompts.push_back({.ids = prompts[i], .config = GenerationConfig::from_caller(all[i], "")});
  }
  const GenerationResult together = generate(model, nullptr, request);
  for (size_t i = 0; i < all.size(); ++i) {
    GenerationRequest alone;
    alone.prompts.push_back({.ids = prompts[i], .row_key = i});
    alone.config = GenerationConfig::from_caller(all[i], "");
    expect_same(generate(model, nullptr, alone).rows[0], together.rows[i]);
  }
}

TEST(SearchModes, TheCacheChangesNothing) {
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

TEST(SearchModes, WhatIsRecordedChangesNoToken) {
  const FakeModel model;
  for (json config : configs()) {
    const GenerationResult plain = run(model, random_prompts(4, 12), config);
    config["output_scores"] = true;
    config["output_logits"] = true;
    config["top_logprobs"] = 3;
    const GenerationResult recorded = run(model, random_prompts(4, 12), config);
    for (size_t i = 0; i < plain.rows.size(); ++i) {
      expect_same(recorded.rows[i], plain.rows[i]);
      EXPECT_EQ(recorded.rows[i].scores.size(), recorded.rows[i].ids.size());
      EXPECT_EQ(recorded.rows[i].top_logprobs.size(), recorded.rows[i].ids.size());
    }
  }
}

TEST(SearchModes, CancelledRowsHaveWhatTheyHadAndGiveTheCacheBack) {
  const FakeModel model;
  for (json config : configs()) {
    config["max_new_tokens"] = 30;
    GenerationSession session(model, nullptr, {});
    const size_t row = session.add({.ids = {1, 2, 3}}, GenerationConfig::from_caller(config, ""));
    for (int i = 0; i < 4; ++i) session.step();
    session.cancel(row);
    const GeneratedRow result = session.take(row);
    if (result.finish_reason != FinishReason::kEos) {
      EXPECT_EQ(result.finish_reason, FinishReason::kCancelled) << config;
      EXPECT_EQ(result.ids.size(), 4u) << config;
    }
    EXPECT_EQ(session.cache().bytes(), 0u) << config;
  }
}

/// Runs a strategy by itself.
GeneratedRow run_alone(const FakeModel& model, Strategy& strategy) {
  cache::KvCache cache = model.make_cache();
  std::vector<StreamEvent> events;
  while (!strategy.done()) {
    const std::vector<Feed> feeds = strategy.plan(cache);
    std::vector<FeedOutput> outputs(feeds.size());
    for (size_t i = 0; i < feeds.size(); ++i) {
      models::ForwardInput input;
      const int count = static_cast<int>(feeds[i].tokens.size());
      input.tokens = mx::array(feeds[i].tokens.data(), {count}, mx::int32);
      input.rows = {{.length = count, .slot = feeds[i].slot, .position = cache.length(feeds[i].slot)}};
      mx::array logits = *model.forward(input, &cache, {}).logits;
      logits.eval();
      outputs[i].begin(0);
      outputs[i].add_logits({logits.data<float>(), FakeModel::kVocab}, FakeModel::kVocab, logits);
    }
    strategy.advance(cache, outputs, events);
  }
  strategy.release(cache);
  EXPECT_EQ(cache.bytes(), 0u);
  return strategy.take();
}

TEST(DiverseBeamSearch, OneGroupIsBeamSearch) {
  const FakeModel model;
  for (const Ids& prompt : random_prompts(12, 4)) {
    for (const bool eos : {false, true}) {
      json config = {{"num_beams", 4}, {"num_return_sequences", 3}, {"max_new_tokens", 12}};
      if (eos) {
        config["eos_token_id"] = {5, 9, 30};
        config["early_stopping"] = true;  // the heuristics of the two differ
      }
      const auto setup = [&] {
        RowSetup out;
        out.prompt = {.ids = prompt, .tokens = prompt, .padding = 0};
        out.prompt.max_length = static_cast<int>(prompt.size()) + 12;
        out.config = config::resolve({}, GenerationConfig::from_caller(config, ""));
        out.vocab_size = FakeModel::kVocab;
        return out;
      };
      BeamSearch beams(setup());
      DiverseBeamSearch group(setup());
      const GeneratedRow a = run_alone(model, beams), b = run_alone(model, group);
      EXPECT_NEAR(*a.sequence_score, *b.sequence_score, 1e-5);
      if (a.finish_reason != FinishReason::kEos) EXPECT_EQ(a.ids, b.ids);
      EXPECT_EQ(a.beam_indices, b.beam_indices);
    }
  }
}

TEST(DiverseBeamSearch, AStrongPenaltyMakesGroupsDiffer) {
  const FakeModel model;
  for (const Ids& prompt : random_prompts(8, 9)) {
    const json config = {{"num_beams", 3},
                         {"num_beam_groups", 3},
                         {"diversity_penalty", 1000},
                         {"num_return_sequences", 3},
                         {"max_new_tokens", 6}};
    const GeneratedRow row = run(model, {prompt}, config).rows[0];
    ASSERT_EQ(row.others.size(), 2u);
    std::vector<const Ids*> rows = {&row.ids, &row.others[0].ids, &row.others[1].ids};
    // No token is chosen twice in one step.
    for (size_t step = 0; step < 6; ++step) {
      std::set<int32_t> tokens;
      for (const Ids* ids : rows) tokens.insert(ids->at(step));
      EXPECT_EQ(tokens.size(), 3u);
    }
  }
}

bool holds(const Ids& ids, const std::vector<Ids>& alternatives) {
  return std::any_of(alternatives.begin(), alternatives.end(), [&](const Ids& word) {
    return std::search(ids.begin(), ids.end(), word.begin(), word.end()) != ids.end();
  });
}

Ids with_prompt(const Ids& prompt, const GeneratedRow& row) {
  Ids out = prompt;
  out.insert(out.end(), row.ids.begin(), row.ids.end());
  return out;
}

constexpr int32_t kNoWord = FakeModel::kVocab - 1;

/// Phrases and alternatives, none of them the beginning of another one. @param least tokens they need.
Words random_words(std::mt19937& random, int& least) {
  Words out;
  least = 0;
  for (size_t count = 1 + random() % 3; count > 0; --count) {
    std::vector<Ids>& word = out.emplace_back();
    size_t shortest = 9;
    for (size_t alternatives = 1 + random() % 3; alternatives > 0; --alternatives) {
      Ids ids = random_ids(random, 1 + random() % 4);
      std::replace(ids.begin(), ids.end(), kNoWord, kNoWord - 1);
      const bool clash = std::any_of(word.begin(), word.end(), [&](const Ids& other) {
        const size_t common = std::min(ids.size(), other.size());
        return std::equal(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(common), other.begin());
      });
      if (clash) continue;
      word.push_back(ids);
      shortest = std::min(shortest, ids.size());
    }
    least += static_cast<int>(shortest);
  }
  return out;
}

TEST(ConstrainedBeamSearch, TheWordsAreAlwaysThere) {
  const FakeModel model;
  std::mt19937 random = random_numbers(21);
  for (int round = 0; round < 300; ++round) {
    int least = 0;
    const Words words = random_words(random, least);
    // Of an id that no word has: what the prompt begins needs its rest, whatever is shorter.
    const Ids prompt(1 + random() % 5, kNoWord);
    json config = {{"num_beams", 2 + random() % 4},
                   {"force_words_ids", words},
                   {"max_new_tokens", static_cast<size_t>(least) + random() % 5}};
    config["num_return_sequences"] = 1 + random() % config["num_beams"].get<unsigned>();
    if (random() % 2) config["length_penalty"] = 0.5 * static_cast<double>(random() % 4);
    if (random() % 2) config["early_stopping"] = true;
    if (random() % 2) {
      Ids eos;
      for (int32_t id = 0; id < FakeModel::kVocab && eos.size() < 2; ++id) {
        const auto uses = [&](const std::vector<Ids>& word) {
          return std::any_of(word.begin(), word.end(), [&](const Ids& ids) {
            return std::find(ids.begin(), ids.end(), id) != ids.end();
          });
        };
        if (std::none_of(words.begin(), words.end(), uses)) eos.push_back(id);
      }
      config["eos_token_id"] = eos;
    }
    const GeneratedRow row = run(model, {prompt}, config).rows[0];
    std::vector<const GeneratedRow*> rows = {&row};
    for (const GeneratedRow& other : row.others) rows.push_back(&other);
    for (const GeneratedRow* r : rows) {
      EXPECT_EQ(r->holds_forced_words, true) << config;
      for (const auto& word : words) EXPECT_TRUE(holds(with_prompt(prompt, *r), word)) << config;
    }
  }
}

TEST(ConstrainedBeamSearch, WithoutStrictnessAResultSaysWhatItLacks) {
  const FakeModel model;
  std::mt19937 random = random_numbers(22);
  int lacking = 0;
  for (int round = 0; round < 60; ++round) {
    int least = 0;
    const Words words = random_words(random, least);
    const Ids prompt = random_ids(random, 3);
    const json config = {{"num_beams", 2},
                         {"force_words_ids", words},
                         {"force_words_strictly", false},
                         {"max_new_tokens", 1 + random() % 6}};
    const GeneratedRow row = run(model, {prompt}, config).rows[0];
    ASSERT_TRUE(row.holds_forced_words.has_value());
    bool all = true;
    for (const auto& word : words) all &= holds(with_prompt(prompt, row), word);
    if (*row.holds_forced_words) EXPECT_TRUE(all) << config;
    lacking += !*row.holds_forced_words;
  }
  EXPECT_GT(lacking, 0);
}

TEST(ConstrainedBeamSearch, RefusesWordsThatCannotCome) {
  const FakeModel model;
  const auto error = [&](json config) {
    config["num_beams"] = 2;
    return error_of([&] { run(model, {{1, 2, 3}}, config); });
  };
  EXPECT_EQ(error({{"force_words_ids", {{5, 6, 7}}}, {"max_new_tokens", 2}}),
            "force_words_ids: need 3 new tokens, and there is room for 2");
  EXPECT_EQ(error({{"force_words_ids", {{48}}}}), "force_words_ids: id 48 is outside the vocabulary of 48");
  EXPECT_EQ(error({{"force_words_ids", {{5, 6}}}, {"eos_token_id", 6}}),
            "force_words_ids: id 6 is an EOS id, and nothing can follow one");
  EXPECT_EQ(error({{"force_words_ids", {{5, 6}}}, {"max_new_tokens", 4}, {"suppress_tokens", {6}}}),
            "row 0: force_words_ids: processors leave no sequence of 4 new tokens that holds them all");
  // The prompt counts.
  EXPECT_EQ(error({{"force_words_ids", {{2, 3}}}, {"max_new_tokens", 1}}), "(no exception)");
}

TEST(ForcedWords, WithoutBeamsTheOutputBeginsWithThem) {
  const FakeModel model;
  std::mt19937 random = random_numbers(23);
  for (int round = 0; round < 200; ++round) {
    int least = 0;
    const Words words = random_words(random, least);
    json config = {{"force_words_ids", words}, {"max_new_tokens", static_cast<size_t>(least) + random() % 5}};
    if (round % 2) {
      config["do_sample"] = true;
      config["seed"] = round;
    }
    const GeneratedRow row = run(model, {random_ids(random, 4)}, config).rows[0];
    // Taken from the front, each word once.
    Ids rest = row.ids;
    std::vector<std::vector<Ids>> left = words;
    while (!left.empty()) {
      bool found = false;
      for (size_t w = 0; w < left.size() && !found; ++w) {
        for (const Ids& word : left[w]) {
          if (rest.size() < word.size() || !std::equal(word.begin(), word.end(), rest.begin())) continue;
          rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(word.size()));
          left.erase(left.begin() + static_cast<std::ptrdiff_t>(w));
          found = true;
          break;
        }
      }
      ASSERT_TRUE(found) << config << " gives " << json(row.ids);
    }
  }
}

TEST(ForcedWords, WithoutBeamsTheScoresChooseAmongAlternativesAndTheRestIsFree) {
  const FakeModel model;
  const Ids prompt = {3, 1, 4};
  const json every = {{"force_words_ids", {{0, 1}}}, {"max_new_tokens", 5}, {"output_logits", true}};
  const GeneratedRow row = run(model, {prompt}, every).rows[0];
  EXPECT_EQ(Ids(row.ids.begin(), row.ids.begin() + 2), (Ids{0, 1}));
  // From there on it is what greedy decoding makes of the longer prompt.
  EXPECT_EQ(Ids(row.ids.begin() + 2, row.ids.end()),
            run(model, {{3, 1, 4, 0, 1}}, {{"max_new_tokens", 3}}).rows[0].ids);
  EXPECT_EQ(error_of([&] {
              run(model, {prompt}, {{"force_words_ids", {{1, 2}}}, {"max_new_tokens", 1}});
            }),
            "force_words_ids: need 2 new tokens, and there is room for 1");
}

}  // namespace
}  // namespace genkit::generate

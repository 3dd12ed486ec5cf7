// Log-probabilities of the prompt's own tokens: the same numbers whatever mode goes on from it.
#include "genkit/generate/prompt_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/steering/hooks.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const Ids kPrompt = {3, 1, 4, 1, 5, 9, 2, 6};

GenerationResult run(const FakeModel& model, json config, const std::vector<Ids>& prompts = {kPrompt}) {
  GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  config.update({{"do_sample", true}, {"seed", 11}, {"top_k", 0}});
  request.config = GenerationConfig::from_caller(config, "");
  return generate(model, nullptr, request);
}

TEST(PromptScores, AreThePromptsOwnLogProbabilities) {
  // Longer than a piece, so that it is fed in several.
  Ids prompt(2 * PromptScores::kPiece + 7);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i * i % FakeModel::kVocab);
  const FakeModel model;
  const GeneratedRow row = run(model, {{"max_new_tokens", 3}, {"prompt_logprobs", 2}}, {prompt}).rows.at(0);
  ASSERT_EQ(row.prompt_logprobs.size(), prompt.size());
  EXPECT_TRUE(std::isnan(row.prompt_logprobs[0]));
  EXPECT_TRUE(row.prompt_top_logprobs[0].empty());
  // The same numbers as of a shorter prompt's next token.
  for (const size_t at : {size_t{1}, PromptScores::kPiece, prompt.size() - 1}) {
    const Ids before(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(at));
    json config = {{"max_new_tokens", 1}, {"top_logprobs", FakeModel::kVocab}};
    const GeneratedRow next = run(model, config, {before}).rows.at(0);
    for (const TokenLogprob& token : next.top_logprobs.at(0)) {
      if (token.id == prompt[at]) EXPECT_FLOAT_EQ(row.prompt_logprobs[at], token.logprob) << at;
    }
    EXPECT_EQ(row.prompt_top_logprobs[at].at(0).id, next.top_logprobs.at(0).at(0).id);
    EXPECT_EQ(row.prompt_top_logprobs[at].size(), 2);
  }
  // What follows the prompt is not changed by it.
  EXPECT_EQ(run(model, {{"max_new_tokens", 3}}, {prompt}).rows.at(0).ids, row.ids);
}

TEST(PromptScores, ComeWithGuidanceBatchesAndSeveralSequences) {
  const FakeModel model;
  const std::vector<Ids> prompts = {kPrompt, {1, 2}};
  const json base = {{"max_new_tokens", 4}, {"guidance_scale", 1.5}, {"num_return_sequences", 2}};
  json scored = base;
  scored["prompt_logprobs"] = 0;
  const GenerationResult with = run(model, scored, prompts), without = run(model, base, prompts);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(with.rows[i].ids, without.rows[i].ids);
    EXPECT_EQ(with.rows[i].others.at(0).ids, without.rows[i].others.at(0).ids);
    EXPECT_EQ(with.rows[i].prompt_logprobs.size(), prompts[i].size());
    EXPECT_EQ(with.timings.prompt_tokens, without.timings.prompt_tokens);
  }
}

std::unique_ptr<models::Model> golden(const std::string& name) {
  io::Checkpoint checkpoint = io::Checkpoint::open(std::filesystem::path(MLXGK_TEST_DATA).parent_path() /
                                                   "goldens" / "models" / name);
  return models::load_model(checkpoint);
}

TEST(PromptScores, AreTheSameInEveryMode) {
  const auto model = golden("llama"), draft = golden("llama_draft");
  Ids prompt(PromptScores::kPiece + 9);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(3 + i * i % 400);
  const std::vector<Ids> prompts = {prompt, kPrompt, prompt};
  struct Mode {
    json options;
    bool assistant = false;
  };
  const Mode modes[] = {{json::object()},
                        {{{"do_sample", true}, {"seed", 1}, {"num_return_sequences", 2}}},
                        {{{"num_beams", 3}, {"num_return_sequences", 2}}},
                        {{{"num_beams", 3}, {"do_sample", true}, {"seed", 1}}},
                        {{{"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 0.5}}},
                        {{{"num_beams", 3}, {"force_words_ids", {{33}}}}},
                        {{{"penalty_alpha", 0.6}, {"top_k", 4}}},
                        {{{"dola_layers", "high"}}},
                        {{{"dola_layers", "high"}, {"do_sample", true}, {"seed", 1}}},
                        {{{"prompt_lookup_num_tokens", 3}}},
                        {json::object(), true},
                        {{{"do_sample", true}, {"seed", 1}}, true},
                        {{{"guidance_scale", 1.5}}},
                        {{{"use_cache", false}}}};
  std::vector<std::vector<float>> expected;
  for (const auto& [options, assistant] : modes) {
    for (const int chunk : {512, 5}) {
      GenerationRequest request;
      for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
      if (assistant) request.assistant_model = draft.get();
      request.prefill_chunk = chunk;
      json config = options;
      config["max_new_tokens"] = 4;
      request.config = GenerationConfig::from_caller(config, "");
      const GenerationResult without = generate(*model, nullptr, request);
      request.config.prompt_logprobs = 2;
      const GenerationResult with = generate(*model, nullptr, request);
      for (size_t i = 0; i < prompts.size(); ++i) {
        const GeneratedRow& row = with.rows[i];
        EXPECT_EQ(row.ids, without.rows[i].ids) << options;
        EXPECT_EQ(row.sequence_score, without.rows[i].sequence_score) << options;
        ASSERT_EQ(row.prompt_logprobs.size(), prompts[i].size()) << options << " in chunks of " << chunk;
        ASSERT_EQ(row.prompt_top_logprobs.size(), prompts[i].size()) << options;
        const std::vector<float> scores(row.prompt_logprobs.begin() + 1, row.prompt_logprobs.end());
        if (expected.size() <= i) expected.push_back(scores);
        EXPECT_EQ(scores, expected[i]) << options << " in chunks of " << chunk;
        for (const GeneratedRow& other : row.others) EXPECT_TRUE(other.prompt_logprobs.empty());
      }
    }
  }
}

TEST(PromptScores, LeaveOutPlaceholdersOfASoftPrompt) {
  const auto model = golden("llama");
  const int hidden = model->config().hidden_size;
  steering::SoftPromptHook hook(mx::full({3, hidden}, 0.01f));
  GenerationRequest request;
  request.prompts = {{.ids = kPrompt}};
  request.hooks = {&hook};
  request.config.max_new_tokens = 1;
  request.config.prompt_logprobs = 0;
  const GeneratedRow row = generate(*model, nullptr, request).rows.at(0);
  ASSERT_EQ(row.prompt_logprobs.size(), kPrompt.size());
  EXPECT_TRUE(std::isfinite(row.prompt_logprobs[0])) << "the placeholders precede it";
  request.config = GenerationConfig::from_caller({{"max_new_tokens", 1}, {"top_logprobs", 400}}, "");
  for (const size_t at : {size_t{1}, size_t{4}}) {
    request.prompts = {{.ids = Ids(kPrompt.begin(), kPrompt.begin() + static_cast<std::ptrdiff_t>(at))}};
    const GeneratedRow before = generate(*model, nullptr, request).rows.at(0);
    for (const TokenLogprob& token : before.top_logprobs.at(0)) {
      if (token.id == kPrompt[at]) EXPECT_FLOAT_EQ(row.prompt_logprobs[at], token.logprob) << at;
    }
  }
}

TEST(PromptScores, OfAPromptThatWasCutOffAreNone) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts = {{.ids = Ids(200, 7)}};
  request.config.prompt_logprobs = 1;
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  request.on_prefill = [&](size_t, size_t) { cancel = true; };
  const GeneratedRow row = generate(model, nullptr, request).rows.at(0);
  EXPECT_EQ(row.finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(row.prompt_logprobs.empty());
}

}  // namespace
}  // namespace genkit::generate

#include "genkit/generate/session.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "genkit/base/error.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

GenerationConfig config_of(const std::string& text) {
  return GenerationConfig::from_caller(json::parse(text), "");
}

std::vector<Ids> random_prompts(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<Ids> out(count);
  for (Ids& ids : out) {
    ids.resize(1 + generator() % 40);
    for (int32_t& id : ids) id = static_cast<int32_t>(generator() % FakeModel::kVocab);
  }
  return out;
}

GenerationResult run(const FakeModel& model, const std::vector<Ids>& prompts, const std::string& config,
                     int chunk = 512) {
  GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  request.config = config_of(config);
  request.prefill_chunk = chunk;
  return generate(model, nullptr, request);
}

TEST(Generate, RowsAreTheSameAloneAndInABatchOfAnyChunking) {
  const FakeModel model;
  const std::vector<Ids> prompts = random_prompts(7, 3);
  const std::string config = R"({"max_new_tokens": 12, "eos_token_id": [5, 9]})";
  const GenerationResult whole = run(model, prompts, config);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(run(model, {prompts[i]}, config).rows[0].ids, whole.rows[i].ids);
  }
  for (const int chunk : {1, 3, 7, 64}) {
    const GenerationResult chunked = run(model, prompts, config, chunk);
    for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(chunked.rows[i].ids, whole.rows[i].ids) << chunk;
  }
}

TEST(Generate, NoPassOfThePromptsIsLargerThanTheChunk) {
  const FakeModel model;
  run(model, random_prompts(5, 8), R"({"max_new_tokens": 1})", 16);
  for (const int size : model.pass_sizes) EXPECT_LE(size, 16);
  EXPECT_GT(model.pass_sizes.size(), 2u);
}

TEST(Generate, SampledTokensDependOnSeedRowAndStepAlone) {
  const FakeModel model;
  const std::vector<Ids> prompts = random_prompts(5, 4);
  const std::string config = R"({"max_new_tokens": 10, "do_sample": true, "top_k": 0, "seed": 42})";
  const GenerationResult batch = run(model, prompts, config);
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerationRequest alone;
    alone.prompts.push_back({.ids = prompts[i], .row_key = i});
    alone.config = config_of(config);
    EXPECT_EQ(generate(model, nullptr, alone).rows[0].ids, batch.rows[i].ids) << i;
  }
  EXPECT_EQ(run(model, prompts, config, 3).rows[2].ids, batch.rows[2].ids);
  EXPECT_NE(run(model, {prompts[2]}, config).rows[0].ids, batch.rows[2].ids) << "another row, another draw";
  const std::string other = R"({"max_new_tokens": 10, "do_sample": true, "top_k": 0, "seed": 43})";
  EXPECT_NE(run(model, prompts, other).rows[2].ids, batch.rows[2].ids);
}

TEST(Generate, ASeedThatWasNotGivenIsReportedAndRepeats) {
  const FakeModel model;
  const std::vector<Ids> prompts = {{1, 2, 3}};
  const GenerationResult first = run(model, prompts, R"({"max_new_tokens": 10, "do_sample": true})");
  const std::string again =
      fmt::format(R"({{"max_new_tokens": 10, "do_sample": true, "seed": {}}})", first.rows[0].seed);
  EXPECT_EQ(run(model, prompts, again).rows[0].ids, first.rows[0].ids);
}

TEST(Generate, RowsHaveTheirOwnOptions) {
  const FakeModel model;
  GenerationRequest request;
  request.config = config_of(R"({"max_new_tokens": 6})");
  request.prompts.push_back({.ids = {1, 2}});
  request.prompts.push_back({.ids = {1, 2}, .config = config_of(R"({"max_new_tokens": 3})")});
  request.prompts.push_back(
      {.ids = {1, 2}, .config = config_of(R"({"do_sample": true, "seed": 1, "top_k": 0})")});
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_EQ(result.rows[0].ids.size(), 6u);
  EXPECT_EQ(result.rows[1].ids, Ids(result.rows[0].ids.begin(), result.rows[0].ids.begin() + 3));
  EXPECT_NE(result.rows[2].ids, result.rows[0].ids);
}

TEST(Generate, EosEndsARowAndStaysInItsIds) {
  const FakeModel model;
  const Ids plain = run(model, {{1, 2}}, R"({"max_new_tokens": 8})").rows[0].ids;
  const GenerationResult result =
      run(model, {{1, 2}}, fmt::format(R"({{"max_new_tokens": 8, "eos_token_id": [47, {}]}})", plain[3]));
  const auto first = std::find(plain.begin(), plain.end(), plain[3]) - plain.begin();
  EXPECT_EQ(result.rows[0].ids, Ids(plain.begin(), plain.begin() + first + 1));
  EXPECT_EQ(result.rows[0].finish_reason, FinishReason::kEos);
}

TEST(Generate, LengthFollowsMaxNewTokensThenMaxLengthThenTwentyWithinTheContext) {
  const FakeModel model(30);
  EXPECT_EQ(run(model, {{1, 2}}, R"({"max_new_tokens": 4, "max_length": 3})").rows[0].ids.size(), 4u);
  EXPECT_EQ(run(model, {{1, 2}}, R"({"max_length": 7})").rows[0].ids.size(), 5u);
  EXPECT_EQ(run(model, {{1, 2}}, "{}").rows[0].ids.size(), 20u);
  EXPECT_EQ(run(model, {Ids(25, 1)}, "{}").rows[0].ids.size(), 5u);
  EXPECT_EQ(run(model, {{1, 2}}, "{}").rows[0].finish_reason, FinishReason::kLength);
}

TEST(Generate, LogprobsAreOfTheModelsOwnDistribution) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts.push_back({.ids = {3, 4}});
  request.config =
      config_of(R"({"max_new_tokens": 3, "top_logprobs": 48, "output_logits": true, "output_scores": true,
                                 "repetition_penalty": 1.5})");
  const GeneratedRow row = generate(model, nullptr, request).rows[0];
  ASSERT_EQ(row.logprobs.size(), 3u);
  for (size_t step = 0; step < 3; ++step) {
    double sum = 0;
    for (const TokenLogprob& entry : row.top_logprobs[step]) {
      sum += std::exp(entry.logprob);
      if (entry.id == row.ids[step]) EXPECT_EQ(entry.logprob, row.logprobs[step]);
    }
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NE(row.logits[step], row.scores[step]);
    const auto best =
        std::max_element(row.scores[step].begin(), row.scores[step].end()) - row.scores[step].begin();
    EXPECT_EQ(row.ids[step], best);
  }
}

TEST(Generate, TheCallbackSeesEveryTokenAndMayEndItsRow) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts = {{.ids = {1}}, {.ids = {2}}};
  request.config = config_of(R"({"max_new_tokens": 9})");
  std::vector<Ids> seen(2);
  int ends = 0;
  request.on_token = [&](const StreamEvent& event) {
    if (event.token >= 0) seen[event.row].push_back(event.token);
    ends += event.finished;
    return !(event.row == 0 && seen[0].size() == 4);
  };
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_EQ(result.rows[0].ids.size(), 4u);
  EXPECT_EQ(result.rows[0].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(result.rows[1].ids.size(), 9u);
  EXPECT_EQ(seen[0], result.rows[0].ids);
  EXPECT_EQ(seen[1], result.rows[1].ids);
  EXPECT_EQ(ends, 2);
}

TEST(Generate, CancelFromAnotherThreadKeepsWhatIsThere) {
  const FakeModel model(1 << 30);
  std::atomic<bool> cancel = false;
  GenerationRequest request;
  request.prompts = {{.ids = {1}}, {.ids = {2}}};
  request.config = config_of(R"({"max_new_tokens": 100000000})");
  request.cancel = &cancel;
  std::atomic<int> tokens = 0;
  request.on_token = [&](const StreamEvent&) { return ++tokens > 0; };
  std::thread canceller([&] {
    while (tokens < 10) std::this_thread::yield();
    cancel = true;
  });
  const GenerationResult result = generate(model, nullptr, request);
  canceller.join();
  for (const GeneratedRow& row : result.rows) {
    EXPECT_EQ(row.finish_reason, FinishReason::kCancelled);
    EXPECT_GE(row.ids.size(), 4u);
  }
}

TEST(Generate, CancelBeforeTheFirstTokenGivesEmptyRows) {
  const FakeModel model;
  std::atomic<bool> cancel = true;
  GenerationRequest request;
  request.prompts = {{.ids = {1}}};
  request.cancel = &cancel;
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_TRUE(result.rows[0].ids.empty());
  EXPECT_EQ(result.rows[0].finish_reason, FinishReason::kCancelled);
}

TEST(Generate, PrefillIsReportedUpToItsEnd) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts = {{.ids = Ids(20, 1)}, {.ids = Ids(13, 2)}};
  request.config = config_of(R"({"max_new_tokens": 2})");
  request.prefill_chunk = 8;
  std::vector<std::pair<size_t, size_t>> reports;
  request.on_prefill = [&](size_t done, size_t total) { reports.emplace_back(done, total); };
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_EQ(reports.front(), (std::pair<size_t, size_t>(8, 33)));
  EXPECT_EQ(reports.back(), (std::pair<size_t, size_t>(33, 33)));
  EXPECT_EQ(result.timings.prompt_tokens, 33u);
  EXPECT_EQ(result.timings.new_tokens, 4u);
}

TEST(Session, RowsJoinAndLeaveBetweenSteps) {
  const FakeModel model;
  const std::vector<Ids> prompts = random_prompts(6, 12);
  const GenerationConfig config =
      config_of(R"({"max_new_tokens": 8, "do_sample": true, "seed": 5, "top_k": 0})");
  std::vector<Ids> alone;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerationRequest request;
    request.prompts.push_back({.ids = prompts[i], .row_key = i});
    request.config = config;
    alone.push_back(generate(model, nullptr, request).rows[0].ids);
  }
  for (const bool mixed : {false, true}) {
    GenerationSession session(model, nullptr, {.prefill_chunk = 5, .decode_during_prefill = mixed});
    std::map<size_t, Ids> done;
    size_t added = 0, steps = 0;
    for (bool more = true; more || added < prompts.size(); ++steps) {
      if (added < prompts.size() && steps % 3 == 0) session.add({.ids = prompts[added++]}, config);
      more = session.step();
      for (const StreamEvent& event : std::vector<StreamEvent>(session.events())) {
        if (event.finished) done[event.row] = session.take(event.row).ids;
      }
    }
    ASSERT_EQ(done.size(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(done[i], alone[i]) << i;
    EXPECT_EQ(session.cache().bytes(), 0u) << "rows that are done give their pages back";
  }
}

TEST(Session, CancelledRowsLeaveTheOthersAlone) {
  const FakeModel model;
  GenerationSession session(model, nullptr, {});
  const GenerationConfig config = config_of(R"({"max_new_tokens": 6})");
  const size_t first = session.add({.ids = {1, 2}}, config);
  const size_t second = session.add({.ids = {3}}, config);
  session.step();
  session.step();
  session.cancel(first);
  EXPECT_EQ(session.take(first).ids.size(), 2u);
  while (session.step()) {
  }
  EXPECT_EQ(session.take(second).ids, run(model, {{3}}, R"({"max_new_tokens": 6})").rows[0].ids);
  EXPECT_THROW(session.take(second), ArgumentError);
  EXPECT_THROW(session.cancel(99), ArgumentError);
}

TEST(Session, ABadPromptLeavesTheSessionAsItWas) {
  const FakeModel model;
  GenerationSession session(model, nullptr, {});
  EXPECT_THROW(session.add({.ids = {}}, {}), ArgumentError);
  const size_t row = session.add({.ids = {3}}, config_of(R"({"max_new_tokens": 2})"));
  EXPECT_EQ(row, 0u);
  while (session.step()) {
  }
  EXPECT_EQ(session.take(row).ids.size(), 2u);
}

TEST(Session, PastTheBorderOfLongRopeARowIsFedAgain) {
  FakeModel model;
  model.border = 10;
  // What the row should be: each token from a fresh pass over all before it.
  Ids ids = {1, 2, 3, 4, 5, 6, 7};
  for (int i = 0; i < 8; ++i) ids.push_back(run(model, {ids}, R"({"max_new_tokens": 1})").rows[0].ids[0]);
  EXPECT_EQ(run(model, {{1, 2, 3, 4, 5, 6, 7}}, R"({"max_new_tokens": 8})").rows[0].ids,
            Ids(ids.begin() + 7, ids.end()));
  EXPECT_EQ(run(model, {{1, 2, 3, 4, 5, 6, 7}}, R"({"max_new_tokens": 8})", 3).rows[0].ids,
            Ids(ids.begin() + 7, ids.end()));
}

TEST(PaddedSequences, FillsAsTransformersDoes) {
  GenerationResult result;
  result.rows.resize(2);
  result.rows[0].prompt_ids = {0, 1};
  result.rows[0].ids = {5, 2};
  result.rows[1].prompt_ids = {3, 4};
  result.rows[1].ids = {6, 7, 8};
  const auto padded = [&](const std::string& config) {
    return padded_sequences(result, config::resolve({}, config_of(config)));
  };
  EXPECT_EQ(padded(R"({"pad_token_id": 0, "eos_token_id": 2})")[0], (Ids{0, 1, 5, 2, 0}));
  EXPECT_EQ(padded(R"({"eos_token_id": [2, 9]})")[0], (Ids{0, 1, 5, 2, 2}));
  EXPECT_EQ(padded("{}")[0], (Ids{0, 1, 5, 2, -1}));
  EXPECT_EQ(padded("{}")[1], (Ids{3, 4, 6, 7, 8}));
  result.rows[1].prompt_ids = {3};
  EXPECT_THROW(padded("{}"), ArgumentError);
}

}  // namespace
}  // namespace genkit::generate

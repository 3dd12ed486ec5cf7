// More prompts than rows: who joins when, and what comes out in which order.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "genkit/base/error.h"
#include "genkit/generate/generate.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using Ids = std::vector<int32_t>;

GenerationRequest request_of(size_t count) {
  GenerationRequest request;
  std::mt19937 generator(9);
  for (size_t i = 0; i < count; ++i) {
    Prompt& prompt = request.prompts.emplace_back();
    prompt.ids.resize(1 + generator() % 30);
    for (int32_t& id : prompt.ids) id = static_cast<int32_t>(generator() % FakeModel::kVocab);
    prompt.config.emplace();
    prompt.config->max_new_tokens = 1 + static_cast<int>(generator() % 12);
    if (i % 3 == 0) {
      prompt.config->do_sample = true;
      prompt.config->seed = i;
    }
  }
  return request;
}

TEST(Batch, RowsJoinAsOthersLeaveAndNothingElseChanges) {
  const FakeModel model;
  GenerationRequest request = request_of(17);
  const GenerationResult together = generate(model, nullptr, request);
  for (const size_t rows : {1, 2, 5, 17, 40}) {
    request.max_rows = rows;
    model.pass_sizes.clear();
    model.pass_rows.clear();
    const GenerationResult result = generate(model, nullptr, request);
    ASSERT_EQ(result.rows.size(), 17u);
    for (size_t i = 0; i < 17; ++i) EXPECT_EQ(result.rows[i].ids, together.rows[i].ids) << rows << ", " << i;
    EXPECT_LE(*std::max_element(model.pass_rows.begin(), model.pass_rows.end()), static_cast<int>(rows));
    EXPECT_EQ(result.timings.prompt_tokens, together.timings.prompt_tokens);
    EXPECT_EQ(result.timings.new_tokens, together.timings.new_tokens);
  }
  // A group of five would wait for its longest row; here the place is taken at once.
  request.max_rows = 5;
  model.pass_rows.clear();
  generate(model, nullptr, request);
  const auto tokens = static_cast<double>(together.timings.new_tokens);
  EXPECT_LT(static_cast<double>(model.pass_rows.size()), tokens / 5 + 12 + 17);
}

TEST(Batch, ResultsComeInTheOrderOfThePromptsAsSoonAsTheyCan) {
  const FakeModel model;
  GenerationRequest request = request_of(9);
  const GenerationResult together = generate(model, nullptr, request);
  request.max_rows = 3;
  std::vector<size_t> order;
  std::vector<Ids> ids;
  size_t passes_at_first = 0;
  model.pass_sizes.clear();
  request.on_result = [&](size_t index, const GeneratedRow& row, const Timings& so_far) {
    if (order.empty()) passes_at_first = model.pass_sizes.size();
    order.push_back(index);
    ids.push_back(row.ids);
    EXPECT_GE(so_far.new_tokens, row.ids.size());
  };
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_TRUE(result.rows.empty());
  ASSERT_EQ(order.size(), 9u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(order[i], i);
    EXPECT_EQ(ids[i], together.rows[i].ids);
  }
  EXPECT_LT(passes_at_first, model.pass_sizes.size());
  EXPECT_EQ(result.timings.new_tokens, together.timings.new_tokens);
}

TEST(Batch, AMistakeInTheLastPromptComesToLightBeforeTheFirstIsRun) {
  const FakeModel model;
  GenerationRequest request = request_of(4);
  request.prompts.back().config->num_beams = 4;
  request.prompts.back().config->num_return_sequences = 9;
  request.max_rows = 1;
  EXPECT_THROW(generate(model, nullptr, request), ArgumentError);
  EXPECT_TRUE(model.pass_sizes.empty());
}

TEST(Batch, CancellingLosesNothing) {
  const FakeModel model;
  GenerationRequest request = request_of(6);
  for (Prompt& prompt : request.prompts) prompt.config->max_new_tokens = 10;
  const GenerationResult together = generate(model, nullptr, request);
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  request.max_rows = 2;
  size_t tokens = 0;
  request.on_token = [&](const StreamEvent& event) {
    tokens += event.token >= 0;
    if (tokens == 25) cancel = true;  // the first two have ended, the next two are on their way
    return true;
  };
  std::vector<GeneratedRow> rows;
  request.on_result = [&](size_t index, const GeneratedRow& row, const Timings&) {
    EXPECT_EQ(index, rows.size());
    rows.push_back(row);
  };
  generate(model, nullptr, request);
  ASSERT_EQ(rows.size(), 6u);
  size_t kept = 0;
  for (size_t i = 0; i < 6; ++i) {
    const Ids& whole = together.rows[i].ids;
    EXPECT_EQ(rows[i].finish_reason, i < 2 ? FinishReason::kLength : FinishReason::kCancelled) << i;
    ASSERT_LE(rows[i].ids.size(), whole.size());
    EXPECT_TRUE(std::equal(rows[i].ids.begin(), rows[i].ids.end(), whole.begin())) << i;
    kept += rows[i].ids.size();
  }
  EXPECT_EQ(kept, tokens);
  EXPECT_TRUE(rows[5].ids.empty());
}

}  // namespace
}  // namespace genkit::generate

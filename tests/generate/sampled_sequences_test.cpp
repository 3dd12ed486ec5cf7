#include "genkit/generate/sampled_sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "genkit/base/error.h"
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

TEST(SampledSequences, TheFirstIsTheRowAloneAndTheOthersDiffer) {
  const FakeModel model;
  const GeneratedRow alone = run(model, {{"max_new_tokens", 9}}).rows.at(0);
  const GeneratedRow row = run(model, {{"max_new_tokens", 9}, {"num_return_sequences", 5}}).rows.at(0);
  EXPECT_EQ(row.ids, alone.ids);
  ASSERT_EQ(row.others.size(), 4);
  std::set<Ids> different = {row.ids};
  for (const GeneratedRow& other : row.others) {
    EXPECT_EQ(other.ids.size(), 9);
    EXPECT_EQ(other.prompt_ids, kPrompt);
    different.insert(other.ids);
  }
  EXPECT_EQ(different.size(), 5);
  // More sequences are the same ones and further ones.
  const GeneratedRow fewer = run(model, {{"max_new_tokens", 9}, {"num_return_sequences", 3}}).rows.at(0);
  EXPECT_EQ(fewer.others.at(1).ids, row.others.at(1).ids);
}

TEST(SampledSequences, TheyAreWhatRowsWithTheirKeysDraw) {
  const FakeModel model;
  const json config = {{"max_new_tokens", 9}, {"eos_token_id", {5, 9}}, {"repetition_penalty", 1.3}};
  json several = config;
  several["num_return_sequences"] = 4;
  const GeneratedRow row = run(model, several).rows.at(0);
  for (uint64_t i = 1; i < 4; ++i) {
    GenerationRequest request;
    request.prompts.push_back({.ids = kPrompt, .row_key = i * SampledSequences::kKeyStride});
    json own = config;
    own.update({{"do_sample", true}, {"seed", 11}, {"top_k", 0}});
    request.config = GenerationConfig::from_caller(own, "");
    EXPECT_EQ(generate(model, nullptr, request).rows.at(0).ids, row.others.at(i - 1).ids) << i;
  }
}

TEST(SampledSequences, ThePromptIsRunOnce) {
  const FakeModel model;
  run(model, {{"max_new_tokens", 3}, {"num_return_sequences", 4}});
  EXPECT_EQ(model.pass_sizes, (std::vector<int>{static_cast<int>(kPrompt.size()), 4, 4}));
}

TEST(SampledSequences, NeighboursAndCacheChangeNothing) {
  const FakeModel model;
  const json config = {{"max_new_tokens", 7}, {"num_return_sequences", 3}};
  const GenerationResult batch = run(model, config, {kPrompt, {7, 7}, {8, 30, 31}});
  const GeneratedRow alone = run(model, config).rows.at(0);
  json recomputed = config;
  recomputed["use_cache"] = false;
  const GeneratedRow again = run(model, recomputed).rows.at(0);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(batch.rows.at(0).others.at(i).ids, alone.others.at(i).ids);
    EXPECT_EQ(again.others.at(i).ids, alone.others.at(i).ids);
  }
}

TEST(SampledSequences, EachEndsWithAnEventOfItsOwn) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts.push_back({.ids = kPrompt});
  request.config = GenerationConfig::from_caller(
      {{"do_sample", true}, {"seed", 2}, {"num_return_sequences", 3}, {"max_new_tokens", 4}}, "");
  std::vector<Ids> streamed(3);
  int ended = 0;
  request.on_token = [&](const StreamEvent& event) {
    if (event.token >= 0) streamed.at(event.sequence).push_back(event.token);
    ended += event.finished;
    return true;
  };
  const GeneratedRow row = generate(model, nullptr, request).rows.at(0);
  EXPECT_EQ(ended, 3);
  EXPECT_EQ(streamed[0], row.ids);
  EXPECT_EQ(streamed[2], row.others.at(1).ids);
}

TEST(SampledSequences, AKeyWithoutRoomIsRefused) {
  const FakeModel model;
  GenerationRequest request;
  request.prompts.push_back({.ids = kPrompt, .row_key = SampledSequences::kKeyStride});
  request.config = GenerationConfig::from_caller({{"do_sample", true}, {"num_return_sequences", 2}}, "");
  try {
    generate(model, nullptr, request);
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_STREQ(
        error.what(),
        "num_return_sequences: a row of key 4294967296 cannot draw several; keys are below 4294967296");
  }
}

}  // namespace
}  // namespace genkit::generate

// What rows leave to later ones, over a model that shows every token that is fed wrongly.
#include "genkit/generate/prefix_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "genkit/base/error.h"
#include "genkit/generate/session.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using Ids = std::vector<int32_t>;

Ids random_ids(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % FakeModel::kVocab);
  return ids;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Ran {
  GenerationResult result;
  int fed;  ///< tokens that the model was given in all
};

Ran run(const FakeModel& model, const std::vector<Ids>& prompts, std::shared_ptr<PrefixStore> prefixes,
        int new_tokens = 6, int chunk = 512) {
  model.pass_sizes.clear();
  GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  request.config.max_new_tokens = new_tokens;
  request.prefixes = std::move(prefixes);
  request.prefill_chunk = chunk;
  GenerationResult result = generate(model, nullptr, request);
  return {std::move(result), std::accumulate(model.pass_sizes.begin(), model.pass_sizes.end(), 0)};
}

TEST(PrefixStore, AConversationIsFedOnlyWhatIsNew) {
  const FakeModel model;
  const auto store = std::make_shared<PrefixStore>(model);
  Ids context = random_ids(40, 1);
  size_t known = 0;
  for (unsigned turn = 0; turn < 4; ++turn) {
    const Ran with = run(model, {context}, store);
    EXPECT_EQ(with.result.timings.reused_tokens, known) << turn;
    // The last of the new tokens is never fed.
    EXPECT_EQ(with.fed, static_cast<int>(context.size() - known) + 5) << turn;
    EXPECT_EQ(with.result.rows[0].ids, run(model, {context}, nullptr).result.rows[0].ids) << turn;
    known = context.size() + 5;
    context = joined(joined(context, with.result.rows[0].ids), random_ids(7, 100 + turn));
  }
  EXPECT_EQ(store->size(), 1u) << "a row that goes on takes the place of what it went on from";
}

TEST(PrefixStore, TheLongestCommonPrefixWinsAndTheRestIsCutOff) {
  const FakeModel model;
  const auto store = std::make_shared<PrefixStore>(model);
  const Ids stem = random_ids(30, 2);
  run(model, {joined(stem, random_ids(50, 3))}, store);
  run(model, {joined(joined(stem, {1, 2, 3}), random_ids(20, 4))}, store);
  EXPECT_EQ(store->size(), 2u);
  const Ids prompt = joined(joined(stem, {1, 2, 3}), {7, 7, 7, 7});
  const Ran with = run(model, {prompt}, store);
  EXPECT_EQ(with.result.timings.reused_tokens, 33u);
  EXPECT_EQ(with.result.rows[0].ids, run(model, {prompt}, nullptr).result.rows[0].ids);
}

TEST(PrefixStore, TheSamePromptAgainIsFedItsLastTokenAlone) {
  const FakeModel model;
  const auto store = std::make_shared<PrefixStore>(model);
  const Ids prompt = random_ids(30, 5);
  const Ids first = run(model, {prompt}, store).result.rows[0].ids;
  const Ran again = run(model, {prompt}, store);
  EXPECT_EQ(again.fed, 1 + 5);
  EXPECT_EQ(again.result.rows[0].ids, first);
}

TEST(PrefixStore, TheLeastRecentlyUsedLeaveFirst) {
  const FakeModel model;
  const auto store = std::make_shared<PrefixStore>(model, PrefixLimits{.max_prefixes = 2});
  const Ids a = random_ids(20, 6), b = random_ids(20, 7), c = random_ids(20, 8);
  for (const Ids& ids : {a, b}) run(model, {ids}, store);
  EXPECT_GT(run(model, {a}, store).result.timings.reused_tokens, 0u);
  run(model, {c}, store);
  EXPECT_EQ(store->size(), 2u);
  EXPECT_GT(run(model, {a}, store).result.timings.reused_tokens, 0u);
  EXPECT_EQ(run(model, {b}, store).result.timings.reused_tokens, 0u);
  const auto small = std::make_shared<PrefixStore>(model, PrefixLimits{.max_bytes = 1});
  for (const Ids& ids : {a, b}) run(model, {ids}, small);
  EXPECT_EQ(small->size(), 1u);
}

TEST(PrefixStore, RowsOfABatchComputeTheirCommonBeginningOnce) {
  const FakeModel model;
  const Ids stem = random_ids(200, 9), longer = joined(stem, random_ids(100, 10));
  std::vector<Ids> prompts;
  for (unsigned i = 0; i < 3; ++i) prompts.push_back(joined(stem, random_ids(5 + i, 20 + i)));
  for (unsigned i = 0; i < 3; ++i) prompts.push_back(joined(longer, random_ids(9 - i, 30 + i)));
  prompts.push_back(stem);
  prompts.push_back(random_ids(80, 40));
  std::vector<Ids> alone;
  for (const Ids& prompt : prompts) alone.push_back(run(model, {prompt}, nullptr).result.rows[0].ids);
  for (const int chunk : {512, 64, 37}) {
    const Ran together = run(model, prompts, nullptr, 6, chunk);
    for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(together.result.rows[i].ids, alone[i]) << i;
    const int distinct = 200 + (5 + 6 + 7) + 100 + (9 + 8 + 7) + 1 + 80;
    EXPECT_EQ(together.fed, distinct + 8 * 5) << "chunks of " << chunk;
    EXPECT_EQ(together.result.timings.prompt_tokens - together.result.timings.reused_tokens,
              static_cast<size_t>(distinct));
  }
}

TEST(PrefixStore, RowsThatWaitGoOnWhenTheOneTheyWaitForIsCancelled) {
  const FakeModel model;
  const Ids stem = random_ids(200, 11);
  const Ids other = joined(stem, {1, 2});
  GenerationSession session(model, nullptr, {.prefill_chunk = 64});
  GenerationConfig config;
  config.max_new_tokens = 4;
  const size_t first = session.add({.ids = joined(stem, {5})}, config);
  const size_t second = session.add({.ids = other}, config);
  session.step();
  session.cancel(first);
  while (session.step()) {
  }
  EXPECT_EQ(session.take(second).ids, run(model, {other}, nullptr, 4).result.rows[0].ids);
}

TEST(PrefixStore, WhatARowKeepsIsOfNoUseToOneWithAnotherBound) {
  const FakeModel model;
  const auto store = std::make_shared<PrefixStore>(model);
  const Ids prompt = random_ids(30, 12);
  run(model, {prompt}, store);
  EXPECT_EQ(store->reusable({.tokens = prompt, .bound = {}, .rope_length = 30, .most = 29}), 29);
  EXPECT_EQ(store->reusable({.tokens = prompt, .bound = {20, 4}, .rope_length = 30, .most = 29}), 0);
}

TEST(PrefixStore, PositionsThatHooksTreatOtherwiseAreNotTheSame) {
  const Ids a = {1, 2, 3, 4}, b = {1, 2, 3, 9};
  const std::vector<models::KvMark> none, ends = {0, 0, 5, 5}, begins = {5};
  EXPECT_EQ(common_length(a, none, b, none), 3);
  EXPECT_EQ(common_length(a, ends, b, none), 2);
  EXPECT_EQ(common_length(a, ends, b, ends), 3);
  EXPECT_EQ(common_length(a, begins, b, none), 0);
  EXPECT_EQ(common_length(a, begins, b, {begins.data(), 1}), 3);
}

TEST(PrefixStore, RefusesWhatCannotBeRight) {
  const FakeModel model, other;
  const auto message_of = [](auto f) -> std::string {
    try {
      f();
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message_of([&] {
              GenerationSession(model, nullptr, {.prefixes = std::make_shared<PrefixStore>(other)});
            }),
            "prefixes: of another model");
  PrefixStore store(model);
  EXPECT_EQ(message_of([&] {
              store.put({.tokens = {1, 2}, .row = {}, .rope_length = 2});
            }),
            "prefix: 2 tokens for keys and values of 0 positions");
  cache::KvCache cache = model.make_cache();
  const int slot = cache.add_row();
  const float number = 1;
  cache.store(slot, 0)->append(&number, &number, 1);
  EXPECT_EQ(message_of([&] {
              store.put({.tokens = {1}, .row = cache.snapshot(slot), .rope_length = 1, .marks = {7, 7}});
            }),
            "prefix: 2 marks for 1 tokens");
}

}  // namespace
}  // namespace genkit::generate

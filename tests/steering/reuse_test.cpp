// Keys and values of steered rows go on to rows that are steered the same way, and to no others.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "genkit/generate/prefix_store.h"
#include "genkit/generate/session.h"
#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;
using generate::GenerationRequest;
using generate::GenerationResult;
using generate::PrefixStore;
using Hooks = std::vector<models::ForwardHook*>;

class Reuse : public ::testing::TestWithParam<std::string> {
 protected:
  Ids random_ids(size_t count) {
    Ids ids(count);
    for (int32_t& id : ids)
      id = 3 + static_cast<int32_t>(generator_() % static_cast<unsigned>(model_->config().vocab_size - 3));
    return ids;
  }
  GenerationResult run(const std::vector<Ids>& prompts, Hooks hooks,
                       std::shared_ptr<PrefixStore> prefixes = nullptr, float guidance = 1) {
    GenerationRequest request;
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
    request.config.max_new_tokens = 6;
    request.config.do_sample = false;
    request.config.top_logprobs = 0;
    request.config.eos_token_id.emplace();
    if (guidance != 1) request.config.guidance_scale = guidance;
    request.hooks = std::move(hooks);
    request.prefixes = std::move(prefixes);
    return generate::generate(*model_, nullptr, request);
  }
  /// The same prompts give the same bits with the store as without one.
  GenerationResult expect_same(const std::vector<Ids>& prompts, const Hooks& hooks,
                               const std::shared_ptr<PrefixStore>& store, const std::string& what) {
    GenerationResult with = run(prompts, hooks, store);
    const GenerationResult without = run(prompts, hooks);
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(with.rows[i].ids, without.rows[i].ids) << what << ", row " << i;
      EXPECT_EQ(with.rows[i].logprobs, without.rows[i].logprobs) << what << ", row " << i;
    }
    return with;
  }

  std::unique_ptr<models::Model> model_ = golden_model(GetParam());
  std::mt19937 generator_{31};
  int hidden_ = model_->config().hidden_size;
  mx::array v_ = random_array({hidden_}, 5), u_ = random_array({hidden_}, 6);
};

// A conversation: every turn's prompt is the last one, its answer, and something new.
TEST_P(Reuse, ASteeredConversationIsFedOnlyWhatIsNew) {
  ResidualInjectionHook constant(0, v_, 1.2), warmup(0, v_, Schedule::warmup(1.5, 4)),
      generated(1, u_, 1.0, {.positions = Positions::generated_only()}),
      last(0, v_, 1.0, {.positions = Positions::last_and_generated(2)}),
      ablate(1, u_, 1.0, {.mode = SteerMode::kAblate}), late(-1, v_, 2.0);
  LogitBiasHook bias(v_, 0.5);
  struct Case {
    const char* name;
    Hooks hooks;
    int answer_kept;  ///< of the 5 tokens of the answer that were fed, so many are as the next turn wants
                      ///< them
    int prompt_lost;  ///< of the prompt's last
  };
  const Case cases[] = {{"none", {}, 5, 0},
                        {"constant", {&constant, &ablate, &bias}, 5, 0},
                        {"last block and logits", {&late, &bias}, 5, 0},
                        {"warm-up", {&warmup}, 0, 0},
                        {"generated", {&generated}, 0, 0},
                        {"last two", {&last}, 0, 2}};
  for (const Case& c : cases) {
    const auto store = std::make_shared<PrefixStore>(*model_);
    Ids context = random_ids(20);
    size_t known = 0;
    for (int turn = 0; turn < 3; ++turn) {
      const GenerationResult result =
          expect_same({context}, c.hooks, store, fmt::format("{}, turn {}", c.name, turn));
      EXPECT_EQ(result.timings.reused_tokens, known) << c.name << ", turn " << turn;
      known = context.size() + static_cast<size_t>(c.answer_kept) - static_cast<size_t>(c.prompt_lost);
      const Ids& answer = result.rows[0].ids;
      context.insert(context.end(), answer.begin(), answer.end());
      for (const int32_t id : random_ids(4)) context.push_back(id);
    }
  }
}

// One store for all of them: nothing that steering has touched goes to a row that is steered otherwise.
TEST_P(Reuse, SteeringDoesNotLeakIntoOtherRows) {
  const auto store = std::make_shared<PrefixStore>(*model_);
  const Ids prompt = random_ids(24);
  ResidualInjectionHook constant(0, v_, 1.2), again(0, v_, 1.2), stronger(0, v_, 1.3), other(0, u_, 1.2),
      elsewhere(1, v_, 1.2), ablating(0, v_, 1.2, {.mode = SteerMode::kAblate}),
      relative(0, v_, 1.2, {.unit = AlphaUnit::kResidualNorm}), zero(0, v_, 0.0),
      generated(0, v_, 1.2, {.positions = Positions::generated_only()}),
      after(0, v_, 1.2, {.positions = Positions::after(prompt[9])}),
      conditional(0, v_, 1.2, {.condition = Condition{make_vector("", u_), -0.9}}),
      otherwise(0, v_, 1.2, {.condition = Condition{make_vector("", u_), 0.1}});
  struct Case {
    const char* name;
    Hooks hooks;
    size_t reused;
  };
  const Case cases[] = {{"first", {}, 0},
                        {"constant", {&constant}, 0},
                        {"the same hook once more", {&again}, 23},
                        {"stronger", {&stronger}, 0},
                        {"another vector", {&other}, 0},
                        {"another block", {&elsewhere}, 0},
                        {"another operator", {&ablating}, 0},
                        {"another unit", {&relative}, 0},
                        {"a condition", {&conditional}, 0},
                        {"another threshold", {&otherwise}, 0},
                        {"two", {&constant, &other}, 0},
                        {"the other order", {&other, &constant}, 0},
                        {"alpha 0", {&zero}, 23},
                        {"generated tokens", {&generated}, 23},
                        {"after the tenth token", {&after}, 10},
                        {"none again", {}, 23},
                        {"constant again", {&constant}, 23}};
  for (const Case& c : cases) {
    const GenerationResult result = expect_same({prompt}, c.hooks, store, c.name);
    EXPECT_EQ(result.timings.reused_tokens, c.reused) << c.name;
  }
}

TEST_P(Reuse, RowsOfABatchShareWhatIsSteeredAlike) {
  const Ids stem = random_ids(90);
  std::vector<Ids> prompts;
  for (int i = 0; i < 6; ++i) {
    prompts.push_back(stem);
    for (const int32_t id : random_ids(3)) prompts.back().push_back(id);
  }
  // Rows 0 and 3 are steered alike, 1 and 4 otherwise, 2 and 5 not at all.
  ResidualInjectionHook a(0, v_, 1.2, {.rows = std::set<int64_t>{0, 3}}),
      b(0, v_, -1.2, {.rows = std::set<int64_t>{1, 4}});
  const GenerationResult batch = run(prompts, {&a, &b});
  EXPECT_EQ(batch.timings.reused_tokens, 3 * stem.size());
  ResidualInjectionHook up(0, v_, 1.2), down(0, v_, -1.2);
  const Hooks alone[] = {{&up}, {&down}, {}};
  for (size_t i = 0; i < prompts.size(); ++i) {
    const GenerationResult one = run({prompts[i]}, alone[i % 3]);
    EXPECT_EQ(one.timings.reused_tokens, 0u);
    EXPECT_EQ(batch.rows[i].ids, one.rows[0].ids) << i;
    EXPECT_EQ(batch.rows[i].logprobs, one.rows[0].logprobs) << i;
  }
}

TEST_P(Reuse, AVectorThatChangesInItsStoreIsAnother) {
  const auto vectors = std::make_shared<VectorStore>();
  vectors->set("mood", make_vector("", v_));
  ResidualInjectionHook hook(0, VectorRef(vectors, "mood"), 1.2);
  const auto store = std::make_shared<PrefixStore>(*model_);
  const Ids prompt = random_ids(24);
  const auto reused = [&](const char* what) {
    return expect_same({prompt}, {&hook}, store, what).timings.reused_tokens;
  };
  EXPECT_EQ(reused("first"), 0u);
  EXPECT_EQ(reused("again"), 23u);
  vectors->set("mood", make_vector("", u_));
  EXPECT_EQ(reused("changed"), 0u);
  vectors->set("mood", make_vector("", v_));
  EXPECT_EQ(reused("changed back"), 23u);
  // Under way: nobody can tell any more what the row's positions have seen.
  const auto fresh = std::make_shared<PrefixStore>(*model_);
  generate::GenerationSession session(*model_, nullptr, {.hooks = {&hook}, .prefixes = fresh});
  generate::GenerationConfig config;
  config.max_new_tokens = 6;
  session.add({.ids = prompt}, config);
  session.step();
  vectors->set("mood", make_vector("", u_));
  while (session.step()) {
  }
  EXPECT_EQ(fresh->size(), 0u);
}

// A hook that says nothing of itself keeps its rows to itself, but for what it says it leaves alone.
TEST_P(Reuse, AHookThatDoesNotSayWhatItDoesSharesNothing) {
  struct Silent : models::ForwardHook {
    int left_alone = 0;
    bool wants(models::Site site, int layer) const override {
      return site == models::Site::kBlock && layer == 0;
    }
    mx::array apply(models::Site, int, const mx::array& x, const models::ForwardInput&) override { return x; }
    int untouched(int64_t, int) const override { return left_alone; }
  } hook;
  const Ids prompt = random_ids(24);
  for (const int left_alone : {0, 7}) {
    hook.left_alone = left_alone;
    const auto store = std::make_shared<PrefixStore>(*model_);
    run({prompt}, {}, store);
    run({prompt}, {&hook}, store);
    const GenerationResult again = run({prompt}, {&hook}, store);
    EXPECT_EQ(again.timings.reused_tokens, static_cast<size_t>(left_alone));
  }
}

TEST_P(Reuse, SoftPromptsBeginARowOfTheirOwn) {
  const mx::array front = random_array({3, hidden_}, 8, 0.1f);
  SoftPromptHook one(front), same(front), two(random_array({3, hidden_}, 9, 0.1f));
  const auto store = std::make_shared<PrefixStore>(*model_);
  const Ids prompt = random_ids(24);
  const auto reused = [&](Hooks hooks, const char* what) {
    return expect_same({prompt}, hooks, store, what).timings.reused_tokens;
  };
  EXPECT_EQ(reused({&one}, "first"), 0u);
  EXPECT_EQ(reused({&two}, "another"), 0u);
  EXPECT_EQ(reused({}, "none"), 0u);
  EXPECT_EQ(reused({&same}, "the same"), 26u);
}

INSTANTIATE_TEST_SUITE_P(Families, Reuse, ::testing::Values("llama", "gemma3_text", "gpt2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace genkit::steering

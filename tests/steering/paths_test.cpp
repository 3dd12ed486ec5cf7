// Steered rows, many ways of computing them: the same tokens. And soft prompts in generation.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "genkit/base/error.h"
#include "genkit/base/thread_pool.h"
#include "genkit/ops/weight.h"
#include "genkit/steering/rebuild.h"
#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;
using generate::GenerationRequest;
using generate::GenerationResult;

class SteeredPaths : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = golden_model(GetParam());
    const int hidden = model_->config().hidden_size;
    std::mt19937 generator(17);
    for (const size_t length : {3, 11, 19, 8}) {
      Ids& ids = prompts_.emplace_back(length);
      for (int32_t& id : ids)
        id = 3 + static_cast<int32_t>(generator() % static_cast<unsigned>(model_->config().vocab_size - 3));
    }
    const mx::array v = random_array({hidden}, 5), u = random_array({hidden}, 6);
    const auto hook = [&](auto&&... args) {
      set_.add(std::make_shared<ResidualInjectionHook>(std::forward<decltype(args)>(args)...));
    };
    hook(0, v, Schedule::warmup(1.5, 5));
    hook(-1, u, Schedule::cosine(0.5, -1, 9),
         InjectionOptions{.positions = Positions::last_and_generated(2)});
    hook(1, u, 0.2, InjectionOptions{.unit = AlphaUnit::kResidualNorm});
    hook(1, v, 0.8,
         InjectionOptions{.mode = SteerMode::kAblate, .positions = Positions::after(prompts_[1][4])});
    hook(-2, u, 1.0, InjectionOptions{.mode = SteerMode::kAddKeepNorm, .rows = std::set<int64_t>{0, 2}});
    set_.add(std::make_shared<LogitBiasHook>(v, Schedule::decay(0.3, 4)));
  }

  GenerationResult run(const std::vector<Ids>& prompts, int chunk = 512, bool use_cache = true) {
    GenerationRequest request;
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
    request.config.max_new_tokens = 12;
    request.config.use_cache = use_cache;
    request.config.do_sample = false;
    request.config.num_beams = beams_;
    request.assistant_model = draft_;
    if (draft_) {
      request.config.num_assistant_tokens = config::DraftTokens{4};
      request.config.assistant_confidence_threshold = 0;
    }
    if (beams_ == 1) request.config.top_logprobs = 0;
    if (steered_) request.hooks = {&set_};
    request.prefill_chunk = chunk;
    return generate::generate(*model_, nullptr, request);
  }

  void expect_same_whatever_the_path() {
    const GenerationResult batch = run(prompts_);
    const auto expect_rows = [&](const GenerationResult& other, const char* path) {
      for (size_t i = 0; i < prompts_.size(); ++i)
        EXPECT_EQ(other.rows[i].ids, batch.rows[i].ids) << path << ", row " << i;
    };
    // Alone it is row 0 of its batch, which one of the hooks goes by; row 2 has the same hooks.
    EXPECT_EQ(run({prompts_[0]}).rows[0].ids, batch.rows[0].ids) << "alone";
    EXPECT_EQ(run({prompts_[2]}).rows[0].ids, batch.rows[2].ids) << "alone";
    expect_rows(run(prompts_, 5), "chunks of 5");
    expect_rows(run(prompts_, 1), "chunks of 1");
    expect_rows(run(prompts_, 512, false), "without a cache");
    steered_ = false;
    const GenerationResult plain = run(prompts_);
    steered_ = true;
    int changed = 0;
    for (size_t i = 0; i < prompts_.size(); ++i) changed += plain.rows[i].ids != batch.rows[i].ids;
    EXPECT_GT(changed, 1);
  }

  std::unique_ptr<models::Model> model_;
  std::vector<Ids> prompts_;
  SteeringSet set_;
  int beams_ = 1;
  const models::Model* draft_ = nullptr;
  bool steered_ = true;
};

TEST_P(SteeredPaths, Greedy) { expect_same_whatever_the_path(); }

TEST_P(SteeredPaths, Beams) {
  beams_ = 3;
  expect_same_whatever_the_path();
}

TEST_P(SteeredPaths, GuessedTokensAreSteeredAtTheirPlaces) {
  const GenerationResult plain = run(prompts_);
  draft_ = model_.get();  // the same model without steering: some guesses hold, some do not
  const GenerationResult guessed = run(prompts_);
  size_t drafted = 0;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    EXPECT_EQ(guessed.rows[i].ids, plain.rows[i].ids) << i;
    drafted += guessed.rows[i].drafted;
  }
  EXPECT_GT(drafted, 20u);
}

TEST_P(SteeredPaths, OneOrTwoThreadsGiveTheSameBits) {
  const int before = num_threads();
  set_num_threads(1);
  const GenerationResult one = run(prompts_);
  set_num_threads(2);
  const GenerationResult two = run(prompts_);
  set_num_threads(before);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    EXPECT_EQ(one.rows[i].ids, two.rows[i].ids);
    EXPECT_EQ(one.rows[i].logprobs, two.rows[i].logprobs);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SteeredPaths,
                         ::testing::Values("llama", "gemma3_text", "gpt2", "qwen3_moe", "phi3", "gpt_neox",
                                           "mistral"),
                         [](const auto& info) { return info.param; });

// A turn's steering stays in the cache, until the row is rebuilt without it.
TEST_P(SteeredPaths, ARebuiltRowHasForgottenTheSteering) {
  const Ids& prompt = prompts_[1];
  const int n = static_cast<int>(prompt.size()), split = 4;
  const mx::array v = random_array({model_->config().hidden_size}, 5);
  ResidualInjectionHook hook(0, v, 2.0, {.positions = Positions::generated_only()});
  // The last token's logits of the prompt fed to a fresh row, or to one steered from `split` on.
  const auto feed = [&](cache::KvCache& cache, int slot, std::span<const int32_t> ids, int prompt_length,
                        std::vector<models::ForwardHook*> hooks) {
    models::ForwardInput input;
    models::RowSpan span;
    span.length = static_cast<int>(ids.size());
    span.slot = slot;
    span.rope_length = n;
    span.prompt_length = prompt_length;
    input.rows = {span};
    input.tokens = mx::array(ids.data(), {span.length}, mx::int32);
    mx::array out = *model_->forward(input, &cache, hooks).logits;
    out.eval();
    return out;
  };
  const std::span<const int32_t> all(prompt);
  const auto history = all.first(static_cast<size_t>(n - 1)), last = all.last(1);
  cache::KvCache plain_cache = model_->make_cache(), cache = model_->make_cache();
  const int plain_slot = plain_cache.add_row(), slot = cache.add_row();
  feed(plain_cache, plain_slot, history, -1, {});
  const mx::array plain = feed(plain_cache, plain_slot, last, -1, {});
  feed(cache, slot, history, split, {&hook});
  const int steered = cache.add_row();
  feed(cache, steered, history, split, {&hook});
  EXPECT_FALSE(same_bits(feed(cache, steered, last, -1, {}), plain));
  EXPECT_EQ(hook.untouched(0, split), split);
  rebuild_unsteered(*model_, cache, slot, history, 0, n);
  EXPECT_TRUE(same_bits(feed(cache, slot, last, -1, {}), plain));
  EXPECT_EQ(message_of<ArgumentError>([&] { rebuild_unsteered(*model_, cache, slot, history, 0, n); }),
            fmt::format("rebuild: slot {} holds {} positions, got {} tokens", slot, n, n - 1));
}

/// The embedding table's rows of some tokens.
mx::array embeddings_of(const models::Model& model, const Ids& ids) {
  return mx::take(ops::dequantize(*model.components().embedding),
                  mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32), 0);
}

class SoftPrompt : public ::testing::TestWithParam<std::string> {};

// Virtual tokens that have the embeddings of real ones are those tokens, at their positions.
TEST_P(SoftPrompt, StandsInFrontOfThePrompt) {
  const auto model = golden_model(GetParam());
  const Ids front = {9, 31, 17, 44, 23}, prompt = {5, 60, 61, 62, 33, 12};
  Ids whole = front;
  whole.insert(whole.end(), prompt.begin(), prompt.end());
  SoftPromptHook hook(embeddings_of(*model, front), std::set<int64_t>{1});
  GenerationRequest request;
  request.prompts = {{.ids = whole}, {.ids = prompt}};
  request.config.max_new_tokens = 10;
  request.config.top_logprobs = 0;
  request.hooks = {&hook};
  for (const int chunk : {512, 3, 1}) {
    request.prefill_chunk = chunk;
    const GenerationResult result = generate::generate(*model, nullptr, request);
    EXPECT_EQ(result.rows[1].ids, result.rows[0].ids) << chunk;
    EXPECT_EQ(result.rows[1].logprobs, result.rows[0].logprobs) << chunk;
    EXPECT_EQ(result.rows[1].prompt_ids, prompt);  // nobody sees the placeholders
  }
  request.config.num_beams = 3;
  request.config.top_logprobs.reset();
  const GenerationResult beams = generate::generate(*model, nullptr, request);
  EXPECT_EQ(beams.rows[1].ids, beams.rows[0].ids);
  // Guidance leads away from what comes without it: the other branch has no virtual tokens, as the branch
  // of the same tokens has none of the real ones.
  request.prefill_chunk = 3;
  request.config.guidance_scale = 1.7f;
  for (const int beams : {1, 3}) {
    request.config.num_beams = beams;
    for (const bool negative : {false, true}) {
      for (generate::Prompt& p : request.prompts) p.negative_prompt_ids = negative ? Ids{8, 40, 41} : Ids{};
      const GenerationResult guided = generate::generate(*model, nullptr, request);
      EXPECT_EQ(guided.rows[1].ids, guided.rows[0].ids) << beams << " beams, negative prompt " << negative;
      EXPECT_EQ(guided.rows[1].sequence_score, guided.rows[0].sequence_score);
    }
  }
  request.config.num_beams = 1;
  request.config.penalty_alpha = 0.4;
  request.config.top_k = 4;
  const GenerationResult contrastive = generate::generate(*model, nullptr, request);
  EXPECT_EQ(contrastive.rows[1].ids, contrastive.rows[0].ids);
  // One pass, with what stands in front left out of the result.
  SoftPromptHook all(embeddings_of(*model, front));
  const HiddenResult hidden = forward_with_hidden(*model, {prompt}, {0}, {.hooks = {&all}});
  const int n = static_cast<int>(prompt.size()), total = static_cast<int>(whole.size());
  const mx::array want = logits(*model, {whole});
  EXPECT_TRUE(same_bits(*hidden.logits, mx::slice(want, {total - n, 0}, want.shape())));
  EXPECT_EQ(hidden.hidden_of(0, 0).shape(0), n);
}

INSTANTIATE_TEST_SUITE_P(Families, SoftPrompt,
                         ::testing::Values("llama", "gpt2", "gemma3_text", "granite", "gemma"),
                         [](const auto& info) { return info.param; });

TEST(SoftPromptErrors, SayWhatIsWrong) {
  const auto model = golden_model("gpt2");
  const int hidden = model->config().hidden_size;
  const auto generating = [&](std::vector<models::ForwardHook*> hooks) {
    GenerationRequest request;
    request.prompts = {{.ids = {5, 6, 7}}};
    request.config.max_new_tokens = 4;
    request.hooks = std::move(hooks);
    return message_of<ArgumentError>([&] { generate::generate(*model, nullptr, request); });
  };
  SoftPromptHook one(random_array({2, hidden}, 1)), two(random_array({2, hidden}, 2)),
      wide(random_array({2, hidden + 1}, 1)), long_one(random_array({4096, hidden}, 1));
  EXPECT_EQ(generating({&one, &two}), "hooks: prompt 0 has two soft prompts; make one of them");
  EXPECT_EQ(
      generating({&wide}),
      fmt::format("SoftPromptHook: the vector has {} values, the model's stream {}", hidden + 1, hidden));
  EXPECT_THAT(generating({&long_one}),
              ::testing::HasSubstr("prompt 0: 4099 tokens are more than the model's"));
  EXPECT_THAT(message_of<ArgumentError>([&] { SoftPromptHook(random_array({hidden}, 1)); }),
              ::testing::HasSubstr("expected floating-point embeddings [tokens, hidden]"));
}

}  // namespace
}  // namespace genkit::steering

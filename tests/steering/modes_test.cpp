// Every mode of generation under steering: it acts, alpha 0 leaves every bit, and a row's neighbours,
// chunks and the cache change nothing.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;
using generate::GeneratedRow;
using generate::GenerationRequest;
using nlohmann::json;

struct Mode {
  const char* name;
  const char* options;  ///< JSON, under transformers' names
};

const Mode kModes[] = {
    {"greedy", R"({"do_sample": false})"},
    {"sampling", R"({"do_sample": true, "seed": 7, "temperature": 0.8, "top_k": 20})"},
    {"beams", R"({"num_beams": 3})"},
    {"beam_sampling", R"({"num_beams": 3, "do_sample": true, "seed": 7})"},
    {"diverse_beams", R"({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7})"},
    {"constrained_beams", R"({"num_beams": 3, "force_words_ids": [[7, 8], [9]]})"},
    {"forced_words", R"({"force_words_ids": [[7, 8]]})"},
    {"contrastive", R"({"penalty_alpha": 0.6, "top_k": 4})"},
    {"dola", R"({"dola_layers": "low"})"},
    {"dola_layers", R"({"dola_layers": [0, 1]})"},
    {"dola_sampling", R"({"dola_layers": "high", "do_sample": true, "seed": 7})"},
    {"prompt_lookup", R"({"prompt_lookup_num_tokens": 3})"},
    {"prompt_lookup_sampling", R"({"prompt_lookup_num_tokens": 3, "do_sample": true, "seed": 7})"},
    {"max_kv_size", R"({"max_kv_size": 12, "num_sink_tokens": 2})"},
    {"max_kv_size_beams", R"({"max_kv_size": 12, "num_sink_tokens": 2, "num_beams": 2})"},
    {"guidance", R"({"guidance_scale": 1.5})"},
    {"guidance_beams", R"({"guidance_scale": 1.5, "num_beams": 2})"},
    {"guidance_contrastive", R"({"guidance_scale": 1.5, "penalty_alpha": 0.6, "top_k": 4})"},
};

class SteeredModes : public ::testing::TestWithParam<std::tuple<const char*, Mode>> {
 protected:
  void SetUp() override {
    model_ = golden_model(std::get<0>(GetParam()));
    std::mt19937 generator(23);
    for (const size_t length : {4, 15, 9}) {
      Ids& ids = prompts_.emplace_back(length);
      for (int32_t& id : ids)
        id = 12 + static_cast<int32_t>(generator() % static_cast<unsigned>(model_->config().vocab_size - 12));
    }
    v_ = random_array({model_->config().hidden_size}, 5);
  }

  std::vector<GeneratedRow> run(const std::vector<Ids>& prompts, std::vector<models::ForwardHook*> hooks,
                                int chunk = 512, bool use_cache = true) const {
    GenerationRequest request;
    for (size_t i = 0; i < prompts.size(); ++i) {
      // The key that a row draws with, whoever is beside it.
      request.prompts.push_back({.ids = prompts[i], .row_key = prompts[i].size()});
    }
    json options = json::parse(std::get<1>(GetParam()).options);
    options["max_new_tokens"] = 9;
    options["output_scores"] = true;
    options["eos_token_id"] = json::array();
    if (!use_cache) options["use_cache"] = false;
    request.config = generate::GenerationConfig::from_caller(options, "test");
    request.hooks = std::move(hooks);
    request.prefill_chunk = chunk;
    return generate::generate(*model_, nullptr, request).rows;
  }

  static void expect_same(const std::vector<GeneratedRow>& rows, const std::vector<GeneratedRow>& others,
                          const char* what) {
    ASSERT_EQ(rows.size(), others.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].ids, others[i].ids) << what << ", row " << i;
      EXPECT_TRUE(rows[i].scores == others[i].scores) << what << ", row " << i;
      EXPECT_EQ(rows[i].sequence_score, others[i].sequence_score) << what << ", row " << i;
    }
  }

  std::unique_ptr<models::Model> model_;
  std::vector<Ids> prompts_;
  mx::array v_ = mx::array(0.0f);
};

TEST_P(SteeredModes, ActAndZeroDoesNotAndThePathDoesNotMatter) {
  const std::vector<GeneratedRow> plain = run(prompts_, {});
  // Nothing at all, bit by bit: alpha 0 of every operator, and of the logits.
  ResidualInjectionHook add0(1, v_, 0.0), ablate0(0, v_, 0.0, {.mode = SteerMode::kAblate}),
      keep0(-1, v_, Schedule::ramp(0, 0, 4), {.mode = SteerMode::kAddKeepNorm});
  LogitBiasHook bias0(v_, 0.0);
  expect_same(run(prompts_, {&add0, &ablate0, &keep0, &bias0}), plain, "alpha 0");

  ResidualInjectionHook early(0, v_, Schedule::warmup(1.5, 3, 1)), late(-1, v_, 0.7),
      ablate(1, random_array({model_->config().hidden_size}, 6), 1.0, {.mode = SteerMode::kAblate});
  LogitBiasHook bias(v_, Schedule::decay(0.3, 4));
  const std::vector<models::ForwardHook*> hooks = {&early, &late, &ablate, &bias};
  const std::vector<GeneratedRow> steered = run(prompts_, hooks);
  size_t changed = 0;
  for (size_t i = 0; i < plain.size(); ++i) changed += steered[i].scores != plain[i].scores;
  EXPECT_EQ(changed, plain.size());
  // Each kind of hook by itself.
  for (models::ForwardHook* hook : hooks) {
    const std::vector<GeneratedRow> one = run(prompts_, {hook});
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(one[i].scores != plain[i].scores) << i;
  }
  for (size_t i = 0; i < prompts_.size(); ++i) expect_same(run({prompts_[i]}, hooks), {steered[i]}, "alone");
  expect_same(run(prompts_, hooks, 4), steered, "chunks of 4");
  expect_same(run(prompts_, hooks, 512, false), steered, "without a cache");
}

INSTANTIATE_TEST_SUITE_P(Modes, SteeredModes,
                         ::testing::Combine(::testing::Values("llama", "gemma3_text"),
                                            ::testing::ValuesIn(kModes)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace genkit::steering

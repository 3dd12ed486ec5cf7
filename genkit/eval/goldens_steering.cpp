// steering.json: runs steered by residual addition and by a logit bias.
// gemma3_270m_steering.json: mean-difference vectors of a real model, and runs steered by them.

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_generate.h"
#include "genkit/eval/golden_set.h"
#include "genkit/generate/generate.h"
#include "genkit/steering/extraction.h"
#include "genkit/steering/hooks.h"

namespace genkit::eval {

namespace mx = mlx::core;

namespace {

constexpr double kVector = 1e-3;  ///< relative to the vector's length

/// What a recorded schedule says, in the library's terms.
struct Plan {
  steering::Schedule schedule = 0.0;
  steering::Positions positions;
};

Plan plan_of(const std::optional<JsonView>& schedule, double alpha) {
  if (!schedule) return {alpha, {}};
  const std::string kind = schedule->at("kind").string();
  if (kind == "all") return {alpha, steering::Positions::all()};
  if (kind == "generated_only") return {alpha, steering::Positions::generated_only()};
  if (kind == "prompt_only") return {alpha, steering::Positions::prompt_only()};
  if (kind == "last_prompt_and_generated") return {alpha, steering::Positions::last_and_generated(1)};
  if (kind == "warmup") {
    return {steering::Schedule::warmup(alpha, schedule->at("warmup").integer<int>(1)),
            steering::Positions::all()};
  }
  throw Mismatch(fmt::format("schedule: {} is not supported yet", kind));
}

/// The coefficients that the schedule gives, held against the recorded ones.
void check_coefficients(const Plan& plan, const JsonView& addition, int prompt_length) {
  const std::vector<float> want = floats(addition.at("coefficient_per_position"));
  models::ForwardInput input;
  input.rows = {{.length = static_cast<int>(want.size()), .prompt_length = prompt_length}};
  expect_close("coefficient_per_position", steering::coefficients(plan.schedule, plan.positions, {}, input),
               want, 1e-6);
}

generate::GenerationRequest greedy_request(const std::vector<int32_t>& prompt, int steps) {
  generate::GenerationRequest request;
  request.prompts = {{.ids = prompt}};
  request.config.do_sample = false;
  request.config.max_new_tokens = steps;
  request.config.output_logits = true;
  return request;
}

std::vector<int32_t> sequence(const generate::GeneratedRow& row) {
  std::vector<int32_t> out = row.prompt_ids;
  out.insert(out.end(), row.ids.begin(), row.ids.end());
  return out;
}

mx::array logits_of(const generate::GeneratedRow& row) {
  std::vector<float> all;
  for (const auto& step : row.logits) all.insert(all.end(), step.begin(), step.end());
  const int steps = static_cast<int>(row.logits.size());
  return mx::array(all.data(), {steps, steps ? static_cast<int>(all.size()) / steps : 0}, mx::float32);
}

void check_bias(const models::Model& model, const steering::LogitBiasHook& hook, const mx::array& want) {
  // Acting on logits of zeros, the hook shows its bias.
  models::ForwardInput input;
  input.rows = {{.length = 1}};
  const auto step = hook.step(models::Site::kLogits, input);
  const int vocab = model.components().vocab_size;
  const mx::array zeros = mx::zeros({1, vocab});
  const mx::array got = mx::flatten(step ? ops::steer(zeros, {*step}) : zeros);
  expect_close("bias_tensor", got, want, scaled_tolerance(want));
}

void check_steering(const GoldenFile& file, GoldenSet& set, const JsonView& c) {
  refuse_unhandled(c, {"name", "model", "kind", "schedule", "prompt_ids", "num_new_tokens", "additions",
                       "expected", "min_top2_gap", "alpha", "vector_tensor"});
  const auto model = set.model(c.at("model").string());
  const auto prompt = c.at("prompt_ids").integers<int32_t>();
  const int steps = c.at("num_new_tokens").integer<int>(1);
  const std::string kind = c.at("kind").string();
  const JsonView expected = c.at("expected");
  std::vector<std::unique_ptr<models::ForwardHook>> hooks;
  if (const auto additions = c.find("additions")) {
    for (size_t i = 0; i < additions->size(); ++i) {
      const JsonView addition = additions->at(i);
      const Plan plan = plan_of(c.find("schedule"), addition.at("alpha").number());
      check_coefficients(plan, addition, static_cast<int>(prompt.size()));
      hooks.push_back(std::make_unique<steering::ResidualInjectionHook>(
          addition.at("block").integer<int>(), file.tensor(addition.at("vector_tensor").string()),
          plan.schedule, steering::InjectionOptions{.positions = plan.positions}));
    }
  }
  if (kind == "logit_bias") {
    auto hook = std::make_unique<steering::LogitBiasHook>(file.tensor(c.at("vector_tensor").string()),
                                                          c.at("alpha").number());
    hook->prepare(*model);
    check_bias(*model, *hook, file.tensor(expected.at("bias_tensor").string()));
    hooks.push_back(std::move(hook));
  } else if (kind != "residual_addition") {
    throw Mismatch(fmt::format("kind: {} is not supported yet", kind));
  }
  generate::GenerationRequest request = greedy_request(prompt, steps);
  const auto plain = generate::generate(*model, nullptr, request);
  expect_ids("unsteered_tokens", sequence(plain.rows.at(0)),
             expected.at("unsteered_tokens").integers<int32_t>());
  for (const auto& hook : hooks) request.hooks.push_back(hook.get());
  const auto result = generate::generate(*model, nullptr, request);
  expect_ids("tokens", sequence(result.rows.at(0)), expected.at("tokens").integers<int32_t>());
  const mx::array want = file.tensor(expected.at("logits_tensor").string());
  expect_close("logits_tensor", logits_of(result.rows.at(0)), want, scaled_tolerance(want));
}

/// Relative to the length of the expected vector, layer by layer.
void expect_vectors(const std::string& field, const mx::array& got, const mx::array& want) {
  if (got.shape() != want.shape())
    throw Mismatch(
        fmt::format("{}: got {}, expected {}", field, shape_text(got.shape()), shape_text(want.shape())));
  const std::vector<float> a = to_floats(got), b = to_floats(want);
  const size_t width = static_cast<size_t>(want.shape(-1));
  for (size_t begin = 0; begin < b.size(); begin += width) {
    double difference = 0, length = 0;
    for (size_t i = begin; i < begin + width; ++i) {
      difference += std::pow(double{a[i]} - b[i], 2);
      length += double{b[i]} * b[i];
    }
    const double relative = std::sqrt(difference / length);
    if (!(relative <= kVector))
      throw Mismatch(fmt::format("{}[{}]: differs by {:.3g} of its length", field, begin / width, relative));
  }
}

/// Mean differences at the pairs' last tokens, held against the recorded ones.
void check_extraction(const GoldenFile& file, const RealModel& real, const JsonView& pairs) {
  steering::ContrastSet texts;
  texts.paired = true;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const JsonView pair = pairs.at(i);
    texts.positive.emplace_back().ids = real.tokenizer->encode(pair.at(size_t{0}).string());
    texts.negative.emplace_back().ids = real.tokenizer->encode(pair.at(size_t{1}).string());
  }
  const steering::VectorSet set = steering::extract_vectors(*real.model, texts, steering::ExtractOptions());
  const mx::array want = file.tensor("mean_difference"), want_norms = file.tensor("residual_norm");
  const int layers = want.shape(0);
  std::vector<mx::array> means, units;
  std::vector<float> norms;
  for (int layer = 0; layer < layers; ++layer) {
    const steering::SteeringVector v = set.vector(layer);
    means.push_back(mx::expand_dims(v.values, 0));
    units.push_back(mx::divide(means.back(), mx::array(static_cast<float>(steering::norm(v)))));
    norms.push_back(v.residual_norm.value_or(0));
  }
  expect_vectors("mean_difference", mx::concatenate(means, 0), want);
  expect_vectors("unit", mx::concatenate(units, 0), file.tensor("unit"));
  expect_vectors("residual_norm", mx::array(norms.data(), {layers, 1}, mx::float32),
                 mx::reshape(want_norms, {layers, 1}));
}

void check_run(const RealModel& real, const mx::array& units, const JsonView& run) {
  refuse_unhandled(run, {"layer_idx", "alpha", "coefficient", "warmup_steps", "prompt", "prompt_ids",
                         "new_ids", "text", "min_gap", "top"});
  const auto prompt = run.at("prompt_ids").integers<int32_t>();
  expect_ids("prompt_ids", real.tokenizer->encode(run.at("prompt").string()), prompt);
  const int layer = run.at("layer_idx").integer<int>();
  const int index = layer < 0 ? layer + units.shape(0) : layer;
  const mx::array unit = mx::flatten(mx::slice(units, {index, 0}, {index + 1, units.shape(1)}));
  const double coefficient = run.at("coefficient").number();
  const int warmup = run.at("warmup_steps").integer<int>(0);
  const auto schedule = warmup > 0 ? steering::Schedule::warmup(coefficient, warmup, 1)
                                   : steering::Schedule::constant(coefficient);
  steering::ResidualInjectionHook hook(layer, unit, schedule);
  const auto want = run.at("new_ids").integers<int32_t>();
  const JsonView top = run.at("top");
  generate::GenerationRequest request;
  request.prompts = {{.ids = prompt}};
  request.model_defaults = generate::GenerationConfig::from_model(real.generation_config);
  request.config.do_sample = false;
  request.config.max_new_tokens = static_cast<int>(want.size());
  request.config.top_logprobs = top.size() == 0 ? 0 : static_cast<int>(top.at(size_t{0}).size());
  request.hooks = {&hook};
  const auto result = generate::generate(*real.model, real.tokenizer.get(), request);
  const generate::GeneratedRow& row = result.rows.at(0);
  expect_ids("new_ids", row.ids, want);
  expect_text("text", real.tokenizer->decode(row.ids, true), run.at("text").string());
  for (size_t step = 0; step < top.size(); ++step) {
    expect_top(fmt::format("top[{}]", step), row.top_logprobs.at(step), top.at(step));
  }
}

}  // namespace

void run_steering(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    report.run(c.at("name").string(), [&] { check_steering(file, set, c); });
  }
}

void run_real_model_steering(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  report.run("mean_difference", [&] { check_extraction(file, set.real_model(), file.root().at("pairs")); });
  const auto runs = file.root().at("runs");
  for (size_t i = 0; i < runs.size(); ++i) {
    report.run(fmt::format("runs/{}", i),
               [&] { check_run(set.real_model(), file.tensor("unit"), runs.at(i)); });
  }
}

}  // namespace genkit::eval

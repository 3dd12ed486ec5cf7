// processors.json, processor_list.json, sampling.json: scores before and after the processors.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_processors.h"
#include "genkit/eval/golden_set.h"
#include "genkit/logits/chain.h"

namespace genkit::eval {

namespace mx = mlx::core;

namespace {

/// Rows of a tensor [..., rows, vocab], one after another.
struct ScoreRows {
  explicit ScoreRows(const mx::array& tensor)
      : values(to_floats(tensor)),
        vocab(static_cast<size_t>(tensor.shape(-1))),
        count(values.size() / vocab),
        tolerance(scaled_tolerance(tensor)) {}
  std::span<const float> row(size_t i) const { return std::span(values).subspan(i * vocab, vocab); }

  std::vector<float> values;
  size_t vocab, count;
  double tolerance;
};

/// Both branches' rows in one tensor, the conditional ones first.
void check_guidance(const GoldenFile& file, const JsonView& c) {
  const ScoreRows before(file.tensor(c.at("scores_tensor").string()));
  const ScoreRows want(file.tensor(c.at("expected_tensor").string()));
  for (size_t row = 0; row < want.count; ++row) {
    std::vector<float> scores(before.row(row).begin(), before.row(row).end());
    logits::guide_logits(scores, before.row(want.count + row), c.at("params").at("guidance_scale").number());
    expect_close(fmt::format("scores of row {}", row), scores, want.row(row), want.tolerance);
  }
}

/// One call a step: tensors are [calls, rows, vocab].
void check_calls(const GoldenFile& file, const JsonView& c) {
  const ScoreRows before(file.tensor(c.at("scores_tensor").string()));
  const ScoreRows want(file.tensor(c.at("expected_tensor").string()));
  const JsonView calls = c.at("input_ids_per_call");
  for (size_t call = 0; call < calls.size(); ++call) {
    const auto ids = id_rows(calls.at(call));
    for (size_t row = 0; row < ids.size(); ++row) {
      const size_t at = call * ids.size() + row;
      std::vector<float> scores(before.row(at).begin(), before.row(at).end());
      logits::Scores view(scores);
      golden_processor(c.json(), row, static_cast<int>(before.vocab))->apply({ids[row]}, view);
      expect_close(fmt::format("scores of call {}, row {}", call, row), scores, want.row(at), 1e-4);
    }
  }
}

void check_processor(const GoldenFile& file, const JsonView& c) {
  const std::string name = c.at("processor").string();
  if (name == "guidance_scale_batched") return check_guidance(file, c);
  if (c.find("input_ids_per_call")) return check_calls(file, c);
  const ScoreRows before(file.tensor(c.at("scores_tensor").string()));
  const ScoreRows want(file.tensor(c.at("expected_tensor").string()));
  const auto ids = c.find("input_ids") ? id_rows(c.at("input_ids")) : std::vector<std::vector<int32_t>>(1);
  // The beams of one prompt are rows that follow each other.
  const size_t beams = c.at("params").integer_or<size_t>("num_beams", 1, 1);
  for (size_t first = 0; first < ids.size(); first += beams) {
    const logits::ProcessorPtr processor = golden_processor(c.json(), first, static_cast<int>(before.vocab));
    if (processor == nullptr) throw Mismatch(fmt::format("processor {} is not supported yet", name));
    std::vector<std::vector<float>> scores;
    std::vector<logits::Context> contexts;
    for (size_t row = first; row < std::min(first + beams, ids.size()); ++row) {
      scores.emplace_back(before.row(row).begin(), before.row(row).end());
      contexts.push_back({ids[row]});
    }
    std::vector<logits::Scores> views(scores.begin(), scores.end());
    processor->apply_to_beams(contexts, views);
    for (size_t i = 0; i < scores.size(); ++i) {
      expect_close(fmt::format("scores of row {}", first + i), scores[i], want.row(first + i),
                   want.tolerance);
    }
  }
}

/// A prompt's leading positions where its mask is 0.
int padding_of(const std::optional<JsonView>& mask, size_t row) {
  if (!mask) return 0;
  const auto ones = mask->at(row).integers<int32_t>();
  return static_cast<int>(std::find(ones.begin(), ones.end(), 1) - ones.begin());
}

void check_chain(const GoldenFile& file, const JsonView& c) {
  const int beams = c.at("params").integer_or<int>("num_beams", 1);
  const auto effective =
      config::resolve(config::GenerationConfig::from_model(c.at("special_tokens").json(), "special_tokens"),
                      config::GenerationConfig::from_caller(c.at("params").json(), "params"));
  const auto prompts = id_rows(c.at("prompt_ids"));
  const auto expect_length = [&](const char* field, int got) {
    expect_text(field, std::to_string(got), std::to_string(c.at(field).integer<int>()));
  };
  const int prompt_length = c.at("prompt_length").integer<int>();
  expect_length("resolved_min_length", logits::resolved_min_length(effective.values, prompt_length));
  expect_length("resolved_max_length", effective.values.max_new_tokens
                                           ? prompt_length + *effective.values.max_new_tokens
                                           : effective.values.max_length.value_or(prompt_length + 20));
  const size_t eos = effective.values.eos_token_id ? effective.values.eos_token_id->size() : 0;
  for (const JsonView& step : c.at("steps").array_of([](const JsonView& v) { return v; })) {
    const ScoreRows before(file.tensor(step.at("scores_tensor").string()));
    const ScoreRows want(file.tensor(step.at("expected_tensor").string()));
    const auto ids = id_rows(step.at("input_ids"));
    for (size_t row = 0; row < ids.size(); ++row) {
      const size_t prompt = row / static_cast<size_t>(beams);
      const logits::Chain chain(
          {.config = effective.values,
           .mode = effective.mode,
           .prompt = prompts.at(prompt),
           .padding = padding_of(c.find("attention_mask"), prompt),
           .max_length = c.at("resolved_max_length").integer<int>(),
           .vocab_size = static_cast<int>(before.vocab),
           .min_tokens_to_keep = beams > 1 ? static_cast<int>(std::max<size_t>(eos, 1)) + 1 : 1});
      expect_text("processor_order", fmt::format("{}", fmt::join(chain.names(), ", ")),
                  fmt::format("{}", fmt::join(c.at("processor_order").strings(), ", ")));
      std::vector<float> scores(before.row(row).begin(), before.row(row).end());
      logits::Scores view(scores);
      chain.apply({ids[row]}, view);
      expect_close(fmt::format("scores of step {}, row {}", step.at("step").integer<int>(), row), scores,
                   want.row(row), want.tolerance);
    }
  }
}

std::vector<float> softmax(std::vector<float> scores) {
  const double total = log_sum_exp(scores);
  for (float& x : scores) x = static_cast<float>(std::exp(x - total));
  return scores;
}

/// The model's logits [tokens, vocab] along ids without padding.
mx::array logits_along(const models::Model& model, std::span<const int32_t> ids) {
  models::ForwardInput input;
  input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  input.rows = {{.length = static_cast<int>(ids.size())}};
  input.logits = models::LogitsFor::kAll;
  return model.forward(input).logits.value();
}

void check_sampling(const models::Model& model, const GoldenFile& file, const JsonView& c) {
  const auto effective =
      config::resolve(config::GenerationConfig::from_model(c.at("special_tokens").json(), "special_tokens"),
                      config::GenerationConfig::from_caller(c.at("params").json(), "params"));
  const auto prompts = id_rows(c.at("input_ids"));
  const auto sequences = id_rows(c.at("forced_sequences"));
  const auto kept = id_rows(c.at("kept_tokens"));
  const ScoreRows want(file.tensor(c.at("probs_tensor").string()));
  for (size_t row = 0; row < prompts.size(); ++row) {
    const std::span<const int32_t> ids(sequences.at(row));
    const size_t prompt = prompts[row].size();
    const int padding = padding_of(c.find("attention_mask"), row);
    const ScoreRows logits(logits_along(model, ids.subspan(static_cast<size_t>(padding))));
    const logits::Chain chain(
        {.config = effective.values,
         .mode = effective.mode,
         .prompt = prompts[row],
         .padding = padding,
         .max_length = static_cast<int>(prompt) + effective.values.max_new_tokens.value_or(20),
         .vocab_size = static_cast<int>(logits.vocab)});
    for (size_t step = 0; prompt + step < ids.size(); ++step) {
      const auto raw = logits.row(prompt + step - 1 - static_cast<size_t>(padding));
      std::vector<float> scores(raw.begin(), raw.end());
      logits::Scores view(scores);
      chain.apply({ids.first(prompt + step)}, view);
      const std::vector<float> probs = softmax(scores);
      const auto positive = std::count_if(probs.begin(), probs.end(), [](float p) { return p > 0; });
      if (positive != kept.at(step).at(row)) {
        throw Mismatch(fmt::format("kept_tokens of step {}, row {}: got {}, expected {}", step, row, positive,
                                   kept[step][row]));
      }
      expect_close(fmt::format("probs of step {}, row {}", step, row), probs,
                   want.row(step * prompts.size() + row), 1e-5);
    }
  }
}

}  // namespace

void run_processors(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  for (const JsonView& c : file.cases()) report.run(c.at("name").string(), [&] { check_processor(file, c); });
}

void run_processor_list(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  for (const JsonView& c : file.cases()) report.run(c.at("name").string(), [&] { check_chain(file, c); });
}

void run_sampling(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    report.run(c.at("name").string(), [&] { check_sampling(*set.model(c.at("model").string()), file, c); });
  }
}

}  // namespace genkit::eval

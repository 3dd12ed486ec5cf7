// generate.json, beam_sample.json, legacy_generate.json, and the runs of stop_strings.json.

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_generate.h"
#include "genkit/generate/generate.h"

namespace genkit::eval {

namespace mx = mlx::core;

namespace {

generate::GenerationRequest request_of(const JsonView& c) {
  generate::GenerationRequest request;
  request.config = generate::GenerationConfig::from_caller(c.at("params").json(), "params");
  request.model_defaults =
      generate::GenerationConfig::from_model(c.at("special_tokens").json(), "special_tokens");
  const auto mask = c.find("attention_mask");
  const auto ids = id_rows(c.at("input_ids"));
  for (size_t row = 0; row < ids.size(); ++row) {
    generate::Prompt prompt{.ids = ids[row]};
    if (mask) prompt.attention_mask = mask->at(row).integers<int32_t>();
    request.prompts.push_back(std::move(prompt));
  }
  if (const auto negative = c.find("negative_prompt_ids")) {
    for (size_t row = 0; row < ids.size(); ++row) {
      request.prompts[row].negative_prompt_ids = negative->at(row).integers<int32_t>();
    }
  }
  if (const auto rule = c.find("prefix_rule")) {
    const auto allowed = id_rows(rule->at("allowed_by_last_token_mod_4"));
    request.prefix_allowed_tokens_fn = [allowed](size_t, std::span<const int32_t> so_far) {
      return allowed.at(static_cast<size_t>(so_far.back()) % 4);
    };
  }
  if (const auto assistant = c.find("assistant")) {
    request.config.num_assistant_tokens.emplace().count =
        assistant->at("num_assistant_tokens").integer<int>();
    // The recorded calls take every draft as it comes.
    request.config.assistant_confidence_threshold = 0;
  }
  request.overrun = true;
  // The recorded draws of beam sampling are the most probable continuations in order.
  request.choose_continuations = [](std::span<const std::span<const float>> scores, int count,
                                    const logits::DrawKey&) {
    return generate::best_continuations(scores, count);
  };
  return request;
}

/// One after another: each prompt's sequences, best first.
std::vector<const generate::GeneratedRow*> flattened(const generate::GenerationResult& result) {
  std::vector<const generate::GeneratedRow*> out;
  for (const generate::GeneratedRow& row : result.rows) {
    out.push_back(&row);
    for (const generate::GeneratedRow& other : row.others) out.push_back(&other);
  }
  return out;
}

/// The beams that a sequence came along as the reference numbers them, through the batch; nothing where it
/// records those of another one.
std::optional<std::vector<int32_t>> recorded_beams(const generate::GeneratedRow& row, int prompt, int prompts,
                                                   const generate::EffectiveConfig& config) {
  std::vector<int32_t> out = row.beam_indices;
  int width = config.values.num_beams.value_or(1);
  if (config.mode == config::GenerationMode::kDiverseBeam) {
    // 4.55 counts within a group, and looks a sequence's beams up without its group (of those that EOS
    // ended) or without its prompt (of the others in a batch).
    width /= config.values.num_beam_groups.value_or(1);
    const bool first_group = out.empty() || out.front() < width;
    if (prompts > 1 || (row.finish_reason == generate::FinishReason::kEos && !first_group)) return {};
    for (int32_t& beam : out) beam %= width;
  }
  for (int32_t& beam : out) beam += prompt * width;
  return out;
}

/// Scores of whole sequences, and the beams that they came along.
void expect_beams(const generate::GenerationResult& result, const generate::EffectiveConfig& config,
                  const JsonView& expected) {
  std::vector<float> scores;
  std::vector<std::optional<std::vector<int32_t>>> beams;
  const int prompts = static_cast<int>(result.rows.size());
  for (int prompt = 0; prompt < prompts; ++prompt) {
    const auto add = [&](const generate::GeneratedRow& row) {
      scores.push_back(row.sequence_score.value_or(NAN));
      beams.push_back(recorded_beams(row, prompt, prompts, config));
    };
    const generate::GeneratedRow& first = result.rows[static_cast<size_t>(prompt)];
    add(first);
    for (const generate::GeneratedRow& other : first.others) add(other);
  }
  const std::vector<float> want = floats(expected.at("sequences_scores"));
  expect_close("sequences_scores", scores, want, 1e-4 * std::max(1.0, largest_magnitude(want)));
  const auto recorded = expected.find("beam_indices");
  if (!recorded) return;
  const auto rows = id_rows(*recorded);
  for (size_t row = 0; row < std::min(rows.size(), beams.size()); ++row) {
    if (!beams[row]) continue;
    // -1 after the end, up to the longest sequence (4.55: to its length with the prompt).
    beams[row]->resize(std::max(beams[row]->size(), rows[row].size()), -1);
    expect_ids(fmt::format("beam_indices[{}]", row), *beams[row], rows[row]);
  }
}

using Steps = std::vector<std::vector<float>>;

/// Compares [steps, rows, vocab] with what each row has; a row that ended early has fewer steps.
void expect_steps(const std::string& field, const generate::GenerationResult& result,
                  const Steps generate::GeneratedRow::*member, const mx::array& want) {
  const double tolerance = scaled_tolerance(want);
  const std::vector<float> all = to_floats(want);
  const size_t rows = static_cast<size_t>(want.shape(1)), vocab = static_cast<size_t>(want.shape(2));
  if (rows != result.rows.size())
    throw Mismatch(fmt::format("{}: got {} rows, expected {}", field, result.rows.size(), rows));
  size_t longest = 0;
  for (size_t row = 0; row < rows; ++row) {
    const Steps& steps = result.rows[row].*member;
    longest = std::max(longest, steps.size());
    for (size_t step = 0; step < steps.size() && step < static_cast<size_t>(want.shape(0)); ++step) {
      expect_close(fmt::format("{} of step {}, row {}", field, step, row), steps[step],
                   std::span(all).subspan((step * rows + row) * vocab, vocab), tolerance);
    }
  }
  if (longest != static_cast<size_t>(want.shape(0))) {
    throw Mismatch(fmt::format("{}: got {} steps, expected {}", field, longest, want.shape(0)));
  }
}

/// What compute_transition_scores makes of the processed scores.
void expect_transitions(const std::string& field, const generate::GenerationResult& result, bool normalized,
                        const JsonView& want) {
  const auto rows = flattened(result);
  for (size_t row = 0; row < rows.size(); ++row) {
    const generate::GeneratedRow& r = *rows[row];
    const std::vector<float>& got = normalized ? r.normalized_transition_scores : r.transition_scores;
    const std::vector<float> expected = floats(want.at(row));
    // Past a row's end the reference goes on with the padding it feeds.
    if (got.size() < expected.size() && r.finish_reason == generate::FinishReason::kLength) {
      throw Mismatch(
          fmt::format("{}[{}]: got {} steps, expected {}", field, row, got.size(), expected.size()));
    }
    expect_close(fmt::format("{}[{}]", field, row), got,
                 std::span(expected).first(std::min(got.size(), expected.size())),
                 1e-4 * std::max(1.0, largest_magnitude(expected)));
  }
}

}  // namespace

void check_generation(const models::Model& model, const text::Tokenizer* tokenizer, const GoldenFile& file,
                      const JsonView& c, const models::Model* assistant) {
  generate::GenerationRequest request = request_of(c);
  request.assistant_model = assistant;
  const JsonView expected = c.at("expected");
  const bool transitions = expected.has("transition_scores") || expected.has("transition_scores_normalized");
  if (expected.has("scores_tensor")) request.config.output_scores = true;
  if (transitions) request.config.output_transition_scores = true;
  if (expected.has("logits_tensor")) request.config.output_logits = true;
  // The reference returns what lacks its words where it finds nothing else.
  if (c.string_or("mode", "") == "constrained_beam") request.config.force_words_strictly = false;
  // Called first, so that what the library refuses is said in its own words.
  const auto effective =
      config::resolve(request.model_defaults, request.config, nullptr, assistant != nullptr);
  refuse_unhandled(
      c, {"name", "model", "mode", "tokenizer", "params", "special_tokens", "input_ids", "attention_mask",
          "negative_prompt_ids", "prefix_rule", "assistant", "min_top2_gap", "note", "expected"});
  refuse_unhandled(expected, {"sequences", "texts", "scores_tensor", "logits_tensor", "transition_scores",
                              "transition_scores_normalized", "sequences_scores", "beam_indices"});
  const generate::GenerationResult result = generate::generate(model, tokenizer, request);

  const auto sequences = id_rows(expected.at("sequences"));
  expect_rows("sequences", generate::padded_sequences(result, effective), sequences);
  if (const auto texts = expected.find("texts")) {
    const size_t prompt = request.prompts.front().ids.size();
    for (size_t row = 0; row < sequences.size(); ++row) {
      // The recorded texts are decoded whole, filling included.
      expect_text(fmt::format("texts[{}]", row), tokenizer->decode(std::span(sequences[row]).subspan(prompt)),
                  texts->at(row).string());
    }
  }
  if (const auto key = expected.find("scores_tensor")) {
    expect_steps("scores", result, &generate::GeneratedRow::scores, file.tensor(key->string()));
  }
  if (const auto key = expected.find("logits_tensor")) {
    expect_steps("logits", result, &generate::GeneratedRow::logits, file.tensor(key->string()));
  }
  if (expected.has("sequences_scores")) {
    expect_beams(result, effective, expected);
  }
  for (const char* field : {"transition_scores", "transition_scores_normalized"}) {
    const bool normalized = std::string_view(field).ends_with("normalized");
    if (const auto want = expected.find(field)) expect_transitions(field, result, normalized, *want);
  }
}

void run_generate(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    report.run(c.at("name").string(), [&] {
      std::shared_ptr<const models::Model> assistant;
      if (const auto named = c.find("assistant")) assistant = set.model(named->at("model").string());
      check_generation(*set.model(c.at("model").string()), nullptr, file, c, assistant.get());
    });
  }
}

}  // namespace genkit::eval

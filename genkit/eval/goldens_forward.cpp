// models/*/forward.json: logits and hidden states, from each form of the configuration.

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_set.h"
#include "genkit/models/hidden_capture.h"

namespace genkit::eval {

namespace mx = mlx::core;

namespace {

/// The rows of a left-padded batch one after another, padding left out.
struct PackedBatch {
  models::ForwardInput input;
  std::vector<int32_t> kept;  ///< index in [batch * length] of each packed token
};

PackedBatch pack(const JsonView& c) {
  const auto ids = id_rows(c.at("input_ids"));
  const auto mask = id_rows(c.at("attention_mask"));
  const auto positions = id_rows(c.at("position_ids"));
  PackedBatch batch;
  std::vector<int32_t> tokens;
  int largest = 0;
  for (size_t row = 0; row < ids.size(); ++row) {
    models::RowSpan span;
    for (size_t i = 0; i < ids[row].size(); ++i) {
      if (mask.at(row).at(i) == 0) continue;
      if (span.length++ == 0) span.position = positions.at(row).at(i);
      largest = std::max(largest, positions[row][i]);
      tokens.push_back(ids[row][i]);
      batch.kept.push_back(static_cast<int32_t>(row * ids[row].size() + i));
    }
    batch.input.rows.push_back(span);
  }
  batch.input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  batch.input.logits = models::LogitsFor::kAll;
  batch.input.rope_length = largest + 1;
  return batch;
}

/// Of [..., batch, length, width] the rows that were fed, as [..., tokens, width].
mx::array kept_of(const mx::array& recorded, const std::vector<int32_t>& kept) {
  mx::Shape shape = recorded.shape();
  const int width = shape.back();
  shape.resize(shape.size() - 3);
  shape.push_back(-1);
  shape.push_back(width);
  const mx::array index(kept.data(), {static_cast<int>(kept.size())}, mx::int32);
  return mx::take(mx::reshape(recorded, shape), index, static_cast<int>(shape.size()) - 2);
}

void check_forward(const models::Model& model, const GoldenFile& file, const JsonView& c) {
  const PackedBatch batch = pack(c);
  const int blocks = model.components().num_blocks;
  models::HiddenCapture capture = models::HiddenCapture::everything(blocks);
  const models::ForwardOutput out = model.forward(batch.input, nullptr, {&capture});
  std::vector<mx::array> results = capture.all();
  results.push_back(out.logits.value());
  mx::eval(results);

  if (const auto key = c.find("hidden_states_tensor")) {
    const mx::array want = kept_of(file.tensor(key->string()), batch.kept);
    if (want.shape(0) != blocks + 1) {
      throw Mismatch(
          fmt::format("hidden_states: the model has {} blocks, expected {}", blocks, want.shape(0) - 1));
    }
    for (int i = 0; i <= blocks; ++i) {
      const mx::array& got = i == 0        ? capture.at(models::Site::kEmbedding)
                             : i == blocks ? capture.at(models::Site::kFinal)
                                           : capture.at(models::Site::kBlock, i - 1);
      const mx::array layer = mx::take(want, i, 0);
      expect_close(fmt::format("hidden_states[{}]", i), got, layer, scaled_tolerance(layer));
    }
  }
  if (const auto key = c.find("last_block_output_tensor")) {
    const mx::array want = kept_of(file.tensor(key->string()), batch.kept);
    expect_close("last_block_output", capture.at(models::Site::kBlock, blocks - 1), want,
                 scaled_tolerance(want));
  }
  const mx::array want = kept_of(file.tensor(c.at("logits_tensor").string()), batch.kept);
  expect_close("logits", *out.logits, want, scaled_tolerance(want));
}

}  // namespace

void run_forward(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const char* config : {"config.json", "config_v4.json"}) {
    if (!std::filesystem::exists(file.folder() / config)) continue;
    const std::string model = file.folder().filename().string();
    for (const JsonView& c : file.cases()) {
      report.run(fmt::format("{} ({})", c.at("name").string(), config),
                 [&] { check_forward(*set.model(model, config), file, c); });
    }
  }
}

}  // namespace genkit::eval

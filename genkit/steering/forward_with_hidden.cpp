#include "genkit/steering/forward_with_hidden.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <set>

#include "genkit/base/error.h"
#include "genkit/models/hidden_capture.h"

namespace genkit::steering {
namespace {

/// Layers as asked for -> from 0.
std::map<int, int> resolve(const models::Model& model, const std::vector<int>& layers, bool strict) {
  std::map<int, int> out;
  if (!model.has_site(models::Site::kBlock)) {
    if (strict && !layers.empty())
      throw ArgumentError("capture_layers: the model gives no access to its blocks");
    return out;
  }
  const int blocks = model.components().num_blocks;
  for (const int layer : layers) {
    if (layer < -blocks || layer >= blocks)
      throw ArgumentError(fmt::format("capture_layers: the model has {} blocks, so {} to {}, got {}", blocks,
                                      -blocks, blocks - 1, layer));
    out[layer] = layer < 0 ? layer + blocks : layer;
  }
  return out;
}

struct Packed {
  models::ForwardInput input;
  std::vector<int> begins;    ///< of the rows without their virtual tokens, in what remains
  std::vector<int32_t> kept;  ///< indices of the tokens that are no virtual ones
  bool has_virtual = false;
};

Packed pack(const models::Model& model, const std::vector<std::vector<int32_t>>& rows,
            const HiddenOptions& options) {
  if (rows.empty()) throw ArgumentError("rows: expected at least one");
  Packed out;
  std::vector<int32_t> tokens;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].empty()) throw ArgumentError(fmt::format("rows: row {} is empty", r));
    for (size_t i = 0; i < rows[r].size(); ++i) {
      if (rows[r][i] < 0 || rows[r][i] >= model.config().vocab_size)
        throw ArgumentError(fmt::format("rows: row {}: id {} at position {} is outside the vocabulary of {}",
                                        r, rows[r][i], i, model.config().vocab_size));
    }
    int prefix = 0;
    for (const models::ForwardHook* hook : options.hooks) {
      prefix += hook->prefix_tokens(static_cast<int64_t>(r));
    }
    out.has_virtual |= prefix > 0;
    tokens.insert(tokens.end(), static_cast<size_t>(prefix), 0);
    out.begins.push_back(static_cast<int>(out.kept.size()));
    for (const int32_t id : rows[r]) {
      out.kept.push_back(static_cast<int32_t>(tokens.size()));
      tokens.push_back(id);
    }
    models::RowSpan span;
    span.length = prefix + static_cast<int>(rows[r].size());
    span.row = static_cast<int64_t>(r);
    out.input.rows.push_back(span);
  }
  out.begins.push_back(static_cast<int>(out.kept.size()));
  out.input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  const int32_t* first = out.input.tokens.data<int32_t>();
  for (models::RowSpan& span : out.input.rows) {
    span.tokens = {first, static_cast<size_t>(span.length)};
    first += span.length;
  }
  out.input.logits = options.logits;
  return out;
}

mx::array rows_of(const mx::array& x, int begin, int end) {
  return mx::slice(x, {begin, 0}, {end, x.shape(1)});
}

}  // namespace

HiddenResult forward_with_hidden(const models::Model& model, const std::vector<std::vector<int32_t>>& rows,
                                 const std::vector<int>& capture_layers, const HiddenOptions& options) {
  const std::map<int, int> layers = resolve(model, capture_layers, options.strict);
  if (options.logits == models::LogitsFor::kPerRow)
    throw ArgumentError("logits: forward_with_hidden gives all of them, each row's last, or none");
  const Packed packed = pack(model, rows, options);
  std::set<models::HiddenCapture::Place> wanted;
  for (const auto& [asked, layer] : layers) wanted.emplace(models::Site::kBlock, layer);
  models::HiddenCapture capture(std::move(wanted));
  std::vector<models::ForwardHook*> hooks = options.hooks;
  hooks.push_back(&capture);  // the last, so that it sees what the others leave
  models::ForwardOutput output = model.forward(packed.input, nullptr, hooks);

  const auto without_virtual = [&](const mx::array& x) {
    if (!packed.has_virtual) return x;
    const int count = static_cast<int>(packed.kept.size());
    return mx::take(x, mx::array(packed.kept.data(), {count}, mx::int32), 0);
  };
  HiddenResult result;
  result.begins = packed.begins;
  if (output.logits)
    result.logits =
        options.logits == models::LogitsFor::kAll ? without_virtual(*output.logits) : *output.logits;
  for (const auto& [asked, layer] : layers) {
    result.hidden.insert_or_assign(asked, without_virtual(capture.at(models::Site::kBlock, layer)));
  }
  return result;
}

mx::array HiddenResult::hidden_of(int layer, size_t row) const {
  const auto found = hidden.find(layer);
  if (found == hidden.end()) throw ArgumentError(fmt::format("layer {}: was not captured", layer));
  if (row + 1 >= begins.size()) throw ArgumentError(fmt::format("row {}: there is none", row));
  return rows_of(found->second, begins[row], begins[row + 1]);
}

mx::array HiddenResult::logits_of(size_t row) const {
  if (!logits) throw ArgumentError("logits: were not asked for");
  if (row + 1 >= begins.size()) throw ArgumentError(fmt::format("row {}: there is none", row));
  const int count = static_cast<int>(begins.size()) - 1, r = static_cast<int>(row);
  // Rows of one token each have as many logits as rows, whichever was asked for.
  return logits->shape(0) == count ? rows_of(*logits, r, r + 1)
                                   : rows_of(*logits, begins[row], begins[row + 1]);
}

}  // namespace genkit::steering

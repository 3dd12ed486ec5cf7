#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "genkit/models/model.h"

namespace genkit::steering {

namespace mx = mlx::core;

struct HiddenOptions {
  /// Fail where the model does not show its blocks; off, the layers are left out of the result.
  bool strict = true;
  /// Act in the same pass; the states are those that they leave. Soft prompts put their virtual
  /// tokens in front of the rows; the results leave those out.
  std::vector<models::ForwardHook*> hooks = {};
  models::LogitsFor logits = models::LogitsFor::kAll;  ///< kAll, kLast or kNone
};

/// Logits and hidden states of rows that lie one after another. Lazy until evaluated; evaluate what is
/// needed together.
struct HiddenResult {
  /// [tokens of all rows, vocab], or [rows, vocab] for kLast, float32; nothing for kNone.
  std::optional<mx::array> logits;
  /// By layer as it was asked for: [tokens of all rows, hidden] float32, the output of that block.
  std::map<int, mx::array> hidden;
  std::vector<int> begins;  ///< of each row's first token, and behind the last one's last

  /// [tokens of the row, hidden]. @throws ArgumentError naming a layer or row that is not there.
  mx::array hidden_of(int layer, size_t row) const;
  /// [tokens of the row, vocab], or [1, vocab] for kLast.
  mx::array logits_of(size_t row) const;
};

/// One pass over whole rows, without a cache: their logits, and the outputs of chosen decoder blocks
/// after the residual additions (and after the hooks' changes), before the final norm. Rows do not
/// see each other, and each has what it would have alone.
/// @param rows           token ids, at least one a row.
/// @param capture_layers blocks from 0, or from the end: -1 is the last.
/// @throws ArgumentError naming the row that is empty or the layer that there is none of.
/// @source torch's forward hook on the decoder block; of `hidden_states` of transformers 5.23 entry
///         i + 1, but for the last, which transformers returns after the final norm.
HiddenResult forward_with_hidden(const models::Model& model, const std::vector<std::vector<int32_t>>& rows,
                                 const std::vector<int>& capture_layers, const HiddenOptions& options = {});

}  // namespace genkit::steering

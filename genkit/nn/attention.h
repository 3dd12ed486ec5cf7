#pragma once

#include <mlx/array.h>

#include <memory>
#include <optional>
#include <vector>

#include "genkit/nn/linear.h"
#include "genkit/nn/norm.h"
#include "genkit/nn/rope.h"
#include "genkit/ops/attention.h"

namespace genkit::nn {

/// What a forward pass tells every attention layer: where the packed tokens stand, and which row's
/// keys and values go where.
struct AttentionContext {
  Positions positions;
  std::vector<std::vector<ops::AttentionRow>> rows;  ///< [layers][rows]
  /// How many of each row's last tokens the blocks' output is wanted of: the last block of a pass
  /// computes no more than keys and values for the others. Empty: all of every row.
  std::vector<int> wanted;

  /// Places of the wanted tokens among the packed ones.
  std::vector<int32_t> wanted_tokens() const;
  /// Where the wanted tokens stand.
  Positions wanted_positions() const;
};

/// How the query, key and value of a token come out of the projections.
enum class QkvLayout : uint8_t {
  kSeparate,    ///< three matrices
  kFusedHeads,  ///< one: query, key and value of head 0, then of head 1, ... (gpt_neox)
};

/// What the norms of query and key see.
enum class QkNorm : uint8_t {
  kNone,
  kHead,   ///< every head by itself; one weight [head_dim] or a weight a head [heads, head_dim]
  kWhole,  ///< the whole projection, before it is cut into heads (olmo2)
};

/// Self-attention with grouped queries: projections, norms, rope, attention over the cache, output.
struct Attention {
  int layer = 0;
  ops::AttentionParams params;
  QkvLayout layout = QkvLayout::kSeparate;
  std::vector<Linear> qkv;  ///< three, or one that holds all
  Linear out;
  QkNorm qk_norm = QkNorm::kNone;
  std::optional<Norm> q_norm, k_norm;
  std::shared_ptr<const Rope> rope;  ///< null: this layer has none

  /// `params`, rounding where the projections round.
  ops::AttentionParams rounded_params() const {
    ops::AttentionParams p = params;
    p.fast = is_quantized(out.weight.format) && out.weight.arithmetic == ops::Arithmetic::kFast;
    return p;
  }
  /// @param x [tokens, hidden]. @return [tokens, hidden], step by step (@see run_blocks).
  mx::array operator()(const mx::array& x, const AttentionContext& context) const;
};

}  // namespace genkit::nn

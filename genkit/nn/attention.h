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
};

/// How the query, key and value of a token come out of the projections.
enum class QkvLayout : uint8_t {
  kSeparate,     ///< three matrices
  kFusedBlocks,  ///< one: all queries, then all keys, then all values
  kFusedHeads,   ///< one: query, key and value of head 0, then of head 1, ... (gpt_neox)
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

  /// @param x [tokens, hidden]. @return [tokens, hidden].
  mx::array operator()(const mx::array& x, const AttentionContext& context) const;

 private:
  /// [tokens, heads, head_dim], [tokens, kv_heads, head_dim] twice.
  std::vector<mx::array> project(const mx::array& x) const;
};

}  // namespace genkit::nn

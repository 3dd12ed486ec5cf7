#pragma once

#include <mlx/array.h>

#include <memory>
#include <optional>
#include <vector>

#include "genkit/ops/kv_store.h"

namespace genkit::ops {

namespace mx = mlx::core;

struct AttentionParams {
  int heads = 0;
  int kv_heads = 0;      ///< heads is a multiple of it
  int head_dim = 0;      ///< of queries and keys
  int value_dim = 0;     ///< of values
  float scale = 1.0f;    ///< multiplies q . k
  float softcap = 0.0f;  ///< cap * tanh(score / cap) before the mask; 0 disables
  int window = 0;        ///< a query at p sees keys at (p - window, p]; 0 means all
  bool fast = false;  ///< may round queries, keys, values and probabilities to bfloat16 where that is faster
};

/// What a cache for this attention should hold: bfloat16 where it rounds keys and values to that anyway,
/// which halves the cache and changes no bit, and fp32 otherwise.
KvType cache_type(const AttentionParams& params);

/// One row's share of the packed queries.
struct AttentionRow {
  int length = 0;                  ///< new keys of this row
  int position = 0;                ///< absolute position of the first of them
  std::shared_ptr<KvStore> store;  ///< earlier keys and values; null: there are none and none are kept
  int queries = -1;                ///< how many of its last tokens have a query; -1: all

  int num_queries() const { return queries < 0 ? length : queries; }
};

/// Causal attention over packed, ragged rows. Appends the new keys and values to each row's store
/// when it is evaluated (exactly once), then attends over what the store holds.
/// @param q    [queries, heads, head_dim], k [tokens, kv_heads, head_dim], v [tokens, kv_heads, value_dim];
///             tokens is the sum of the rows' lengths, queries that of their num_queries(), rows one
///             after another.
/// @return     [queries, heads, value_dim].
/// @throws ArgumentError when shapes, rows and params disagree.
mx::array attention(const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<AttentionRow>& rows, const AttentionParams& params);

}  // namespace genkit::ops

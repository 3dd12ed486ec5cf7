#pragma once

#include <cstdint>
#include <vector>

#include "genkit/kernels/kernel_table.h"

namespace genkit::kernels {

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  CacheType type = CacheType::kF32;
  float scale = 1;
  float softcap = 0;  ///< 0: none
  int window = 0;     ///< 0: all
  bool fast = false;  ///< KernelTable::attend_fast
};

/// A row that keeps a bounded number of positions: its queries from `max_size` on see the first
/// `sinks` positions and the newest max_size - sinks, their own among them; those before see all.
struct AttentionBound {
  int max_size = 0;  ///< 0: no bound; otherwise above `sinks`
  int sinks = 0;
  std::vector<const void*> sink_keys;  ///< by page, from page 0 to the one that holds sinks - 1
  std::vector<const void*> sink_values;
};

/// A row's queries, at positions position .. position + length - 1, and its cache, which holds
/// every position that they see.
struct AttentionRows {
  const float* q = nullptr;  ///< [length, heads, head_dim]
  float* out = nullptr;      ///< [length, heads, value_dim]
  int length = 0;
  int position = 0;
  int first_page = 0;               ///< the page that keys[0] is
  std::vector<const void*> keys;    ///< by page: [kv_heads, kPageSlots, head_dim]
  std::vector<const void*> values;  ///< by page: [kv_heads, kPageSlots, value_dim]
  int window = 0;                   ///< this row's, narrower than the shape's; 0: the shape's
  AttentionBound bound;             ///< only where there is no window
};

/// Whether attention of this shape rounds keys and values to bfloat16 anyway, so that a cache of bfloat16
/// leaves its bits as they are.
bool rounds_to_bf16(const AttentionShape& shape, const KernelTable& table = active_table());

/// Causal attention of every row over its own cache. The bits of a query's result depend on its
/// position and what it sees alone.
void attention(const std::vector<AttentionRows>& rows, const AttentionShape& shape,
               const KernelTable& table = active_table());

}  // namespace genkit::kernels

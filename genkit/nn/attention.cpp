#include "genkit/nn/attention.h"

#include <mlx/ops.h>

namespace genkit::nn {

std::vector<mx::array> Attention::project(const mx::array& x) const {
  const int tokens = x.shape(0), heads = params.heads, kv_heads = params.kv_heads, dim = params.head_dim;
  if (layout == QkvLayout::kFusedHeads) {
    const mx::array all = mx::reshape(qkv[0](x), {tokens, heads, 3, dim});
    std::vector<mx::array> out;
    for (const mx::array& part : mx::split(all, 3, 2)) out.push_back(mx::reshape(part, {tokens, heads, dim}));
    return out;
  }
  std::vector<mx::array> flat;
  if (layout == QkvLayout::kFusedBlocks) {
    flat = mx::split(qkv[0](x), mx::Shape{heads * dim, (heads + kv_heads) * dim}, 1);
  } else {
    flat = ops::linear_many(x, {&qkv[0].weight, &qkv[1].weight, &qkv[2].weight},
                            {qkv[0].bias, qkv[1].bias, qkv[2].bias});
  }
  if (qk_norm == QkNorm::kWhole) {
    flat[0] = (*q_norm)(flat[0]);
    flat[1] = (*k_norm)(flat[1]);
  }
  return {mx::reshape(flat[0], {tokens, heads, dim}), mx::reshape(flat[1], {tokens, kv_heads, dim}),
          mx::reshape(flat[2], {tokens, kv_heads, dim})};
}

mx::array Attention::operator()(const mx::array& x, const AttentionContext& context) const {
  const std::vector<mx::array> parts = project(x);
  mx::array q = parts[0], k = parts[1];
  if (qk_norm == QkNorm::kHead) {
    q = (*q_norm)(q);
    k = (*k_norm)(k);
  }
  if (rope) {
    q = (*rope)(q, context.positions);
    k = (*rope)(k, context.positions);
  }
  const mx::array y = ops::attention(q, k, parts[2], context.rows[layer], params);
  return out(mx::reshape(y, {x.shape(0), params.heads * params.value_dim}));
}

}  // namespace genkit::nn

#include "genkit/nn/block.h"

#include <mlx/ops.h>

#include "genkit/ops/layers.h"

namespace genkit::nn {
namespace {

/// {x + norm'(y), norm(x + norm'(y))} as one graph node where the norms are RMSNorms of one kind,
/// else step by step; the numbers are the same.
std::pair<mx::array, mx::array> add_and_norm(const mx::array& x, const mx::array& y, const Norm* post,
                                             const Norm& norm) {
  const bool fusable = norm.kind == Norm::Kind::kRms && norm.weight && norm.weight->ndim() == 1 &&
                       (!post || (post->kind == Norm::Kind::kRms && post->eps == norm.eps &&
                                  post->offset == norm.offset && post->weight && post->weight->ndim() == 1));
  if (fusable) {
    return ops::residual_rms_norm(x, y, post ? post->weight : std::nullopt, norm.weight, norm.eps,
                                  norm.offset);
  }
  const mx::array sum = mx::add(x, post ? (*post)(y) : y);
  return {sum, norm(sum)};
}

mx::array scaled(const mx::array& y, float multiplier) {
  return multiplier == 1.0f ? y : mx::multiply(y, mx::array(multiplier));
}

}  // namespace

mx::array run(const Mlp& mlp, const mx::array& x) {
  return std::visit([&](const auto& m) { return m(x); }, mlp);
}

mx::array PreNormBlock::operator()(const mx::array& x, const AttentionContext& context) const {
  const mx::array y = scaled(attention(attention_norm(x), context), residual_multiplier);
  const auto [h, normed] = add_and_norm(x, y, nullptr, mlp_norm);
  return mx::add(h, scaled(run(mlp, normed), residual_multiplier));
}

mx::array SandwichBlock::operator()(const mx::array& x, const AttentionContext& context) const {
  const mx::array y = attention(attention_norm(x), context);
  const auto [h, normed] = add_and_norm(x, y, &post_attention_norm, mlp_norm);
  return mx::add(h, post_mlp_norm(run(mlp, normed)));
}

mx::array PostNormBlock::operator()(const mx::array& x, const AttentionContext& context) const {
  const mx::array h = mx::add(x, post_attention_norm(attention(x, context)));
  return mx::add(h, post_mlp_norm(run(mlp, h)));
}

mx::array ParallelBlock::operator()(const mx::array& x, const AttentionContext& context) const {
  const mx::array normed = attention_norm(x);
  const mx::array y = attention(normed, context);
  const mx::array z = run(mlp, mlp_norm ? (*mlp_norm)(x) : normed);
  return mx::add(mx::add(x, y), z);
}

mx::array run(const Block& block, const mx::array& x, const AttentionContext& context) {
  return std::visit([&](const auto& b) { return b(x, context); }, block);
}

}  // namespace genkit::nn

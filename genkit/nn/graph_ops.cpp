#include "genkit/nn/graph_ops.h"

#include <mlx/ops.h>

#include "genkit/ops/layers.h"

namespace genkit::nn {
namespace {

// As one node where the norms are RMSNorms of one kind.
bool norms_together(const Norm* post, const Norm& norm) {
  return norm.kind == Norm::Kind::kRms && norm.weight && norm.weight->ndim() == 1 &&
         (!post || (post->kind == Norm::Kind::kRms && post->eps == norm.eps && post->offset == norm.offset &&
                    post->weight && post->weight->ndim() == 1));
}

mx::array in_heads(const mx::array& x, int heads) {
  return mx::reshape(x, {x.shape(0), heads, x.shape(1) / heads});
}

}  // namespace

mx::array GraphOps::wanted(const mx::array& x) const {
  const std::vector<int32_t> tokens = context_.wanted_tokens();
  const int count = static_cast<int>(tokens.size());
  if (count == 0 || tokens.back() - tokens.front() + 1 == count) {
    const int begin = count ? tokens.front() : 0;
    return mx::slice(x, {begin, 0}, {begin + count, x.shape(1)});
  }
  return mx::take(x, mx::array(tokens.begin(), mx::Shape{count}, mx::int32), 0);
}

std::vector<mx::array> GraphOps::linear(const mx::array& x,
                                        std::initializer_list<const Linear*> layers) const {
  std::vector<const ops::Weight*> weights;
  std::vector<std::optional<mx::array>> biases;
  for (const Linear* layer : layers) {
    weights.push_back(&layer->weight);
    biases.push_back(layer->bias);
  }
  return ops::linear_many(x, weights, biases);
}

mx::array GraphOps::head_norm(const Norm& norm, const mx::array& x, int heads) const {
  return mx::reshape(norm(in_heads(x, heads)), x.shape());
}

std::pair<mx::array, mx::array> GraphOps::add_and_norm(const mx::array& x, const mx::array& y,
                                                       const Norm* post, const Norm& norm) const {
  if (norms_together(post, norm)) {
    return ops::residual_rms_norm(x, y, post ? post->weight : std::nullopt, norm.weight, norm.eps,
                                  norm.offset);
  }
  const mx::array sum = mx::add(x, post ? (*post)(y) : y);
  return {sum, norm(sum)};
}

mx::array GraphOps::add(const mx::array& a, const mx::array& b) const { return mx::add(a, b); }

mx::array GraphOps::scale(const mx::array& x, float factor) const {
  return factor == 1.0f ? x : mx::multiply(x, mx::array(factor));
}

std::vector<mx::array> GraphOps::split_heads(const mx::array& x, int heads) const {
  const int tokens = x.shape(0), width = x.shape(1) / 3;
  std::vector<mx::array> out;
  for (const mx::array& part : mx::split(mx::reshape(x, {tokens, heads, 3, width / heads}), 3, 2))
    out.push_back(mx::reshape(part, {tokens, width}));
  return out;
}

mx::array GraphOps::rotate(const Rope& rope, const mx::array& x, int heads, bool wanted_only) const {
  const mx::array y =
      rope(in_heads(x, heads), wanted_only ? context_.wanted_positions() : context_.positions);
  return mx::reshape(y, x.shape());
}

mx::array GraphOps::attention(const Attention& a, const mx::array& q, const mx::array& k,
                              const mx::array& v) const {
  std::vector<ops::AttentionRow> rows = context_.rows[a.layer];
  if (drops_tokens_) {
    for (size_t i = 0; i < rows.size(); ++i) rows[i].queries = context_.wanted[i];
  }
  const auto p = a.rounded_params();
  const mx::array y =
      ops::attention(in_heads(q, p.heads), in_heads(k, p.kv_heads), in_heads(v, p.kv_heads), rows, p);
  return mx::reshape(y, {q.shape(0), p.heads * p.value_dim});
}

mx::array GraphOps::activate(const mx::array& x, ops::Activation activation) const {
  return ops::activate(x, activation);
}

mx::array GraphOps::gate(const mx::array& gate, const mx::array& up, ops::Activation activation) const {
  return ops::gated_activation(gate, up, activation);
}

}  // namespace genkit::nn

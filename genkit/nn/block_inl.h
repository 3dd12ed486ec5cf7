#pragma once

#include <mlx/array.h>

#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "genkit/nn/block.h"

// What blocks compute, written once over the operations that compute it: GraphOps builds a node of
// the graph for each, KernelOps runs each at once on memory of its own. Tensors are fp32 [tokens, n];
// an operation may reuse the memory of a tensor that is moved into it.

namespace genkit::nn::detail {

/// {query, key, value}. In the last block of a pass, queries of the wanted tokens alone.
template <class Ops>
std::vector<typename Ops::Tensor> project(Ops& ops, const Attention& a, const typename Ops::Tensor& x) {
  if (a.layout == QkvLayout::kFusedHeads) {
    auto parts = ops.split_heads(std::move(ops.linear(x, {&a.qkv[0]})[0]), a.params.heads);
    if (ops.drops_tokens()) parts[0] = ops.wanted(parts[0]);
    return parts;
  }
  if (!ops.drops_tokens()) return ops.linear(x, {&a.qkv[0], &a.qkv[1], &a.qkv[2]});
  auto parts = ops.linear(ops.wanted(x), {&a.qkv[0]});
  for (auto& part : ops.linear(x, {&a.qkv[1], &a.qkv[2]})) parts.push_back(std::move(part));
  return parts;
}

/// @return of the wanted tokens, where the block drops the others.
template <class Ops>
typename Ops::Tensor attend(Ops& ops, const Attention& a, const typename Ops::Tensor& x) {
  auto qkv = project(ops, a, x);
  auto q = std::move(qkv[0]), k = std::move(qkv[1]);
  if (a.qk_norm == QkNorm::kWhole) {
    q = ops.norm(*a.q_norm, std::move(q));
    k = ops.norm(*a.k_norm, std::move(k));
  } else if (a.qk_norm == QkNorm::kHead) {
    q = ops.head_norm(*a.q_norm, std::move(q), a.params.heads);
    k = ops.head_norm(*a.k_norm, std::move(k), a.params.kv_heads);
  }
  if (a.rope) {
    q = ops.rotate(*a.rope, std::move(q), a.params.heads, ops.drops_tokens());
    k = ops.rotate(*a.rope, std::move(k), a.params.kv_heads, false);
  }
  return std::move(ops.linear(ops.attention(a, q, k, qkv[2]), {&a.out})[0]);
}

template <class Ops>
typename Ops::Tensor feed_forward(Ops& ops, const Mlp& mlp, const typename Ops::Tensor& x) {
  return std::visit(
      [&](const auto& m) {
        using Kind = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<Kind, GatedMlp>) {
          auto parts = ops.linear(x, {&m.gate, &m.up});
          return std::move(ops.linear(ops.gate(std::move(parts[0]), parts[1], m.activation), {&m.down})[0]);
        } else if constexpr (std::is_same_v<Kind, PlainMlp>) {
          auto h = std::move(ops.linear(x, {&m.up})[0]);
          return std::move(ops.linear(ops.activate(std::move(h), m.activation), {&m.down})[0]);
        } else {
          return ops.mixture(m, x);
        }
      },
      mlp);
}

template <class Ops>
typename Ops::Tensor run_block(Ops& ops, const PreNormBlock& b, typename Ops::Tensor x) {
  auto y = ops.scale(attend(ops, b.attention, ops.norm(b.attention_norm, x)), b.residual_multiplier);
  if (ops.drops_tokens()) x = ops.wanted(x);
  auto [h, normed] = ops.add_and_norm(x, std::move(y), nullptr, b.mlp_norm);
  return ops.add(ops.scale(feed_forward(ops, b.mlp, normed), b.residual_multiplier), h);
}

template <class Ops>
typename Ops::Tensor run_block(Ops& ops, const SandwichBlock& b, typename Ops::Tensor x) {
  auto y = attend(ops, b.attention, ops.norm(b.attention_norm, x));
  if (ops.drops_tokens()) x = ops.wanted(x);
  auto [h, normed] = ops.add_and_norm(x, std::move(y), &b.post_attention_norm, b.mlp_norm);
  return ops.add(ops.norm(b.post_mlp_norm, feed_forward(ops, b.mlp, normed)), h);
}

template <class Ops>
typename Ops::Tensor run_block(Ops& ops, const PostNormBlock& b, typename Ops::Tensor x) {
  auto y = ops.norm(b.post_attention_norm, attend(ops, b.attention, x));
  if (ops.drops_tokens()) x = ops.wanted(x);
  const auto h = ops.add(std::move(y), x);
  return ops.add(ops.norm(b.post_mlp_norm, feed_forward(ops, b.mlp, h)), h);
}

template <class Ops>
typename Ops::Tensor run_block(Ops& ops, const ParallelBlock& b, typename Ops::Tensor x) {
  auto normed = ops.norm(b.attention_norm, x);
  auto y = attend(ops, b.attention, normed);
  if (ops.drops_tokens()) {
    x = ops.wanted(x);
    if (!b.mlp_norm) normed = ops.wanted(normed);
  }
  const auto z = feed_forward(ops, b.mlp, b.mlp_norm ? ops.norm(*b.mlp_norm, x) : std::move(normed));
  return ops.add(ops.add(std::move(y), x), z);
}

}  // namespace genkit::nn::detail

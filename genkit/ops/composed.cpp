#include "genkit/ops/composed.h"

#include <mlx/ops.h>

#include <cmath>
#include <limits>

namespace genkit::ops::composed {
namespace {

mx::array f32(const mx::array& a) { return mx::astype(a, mx::float32); }

// Positions a query may see: [length, length] bool.
mx::array causal_mask(int length, int window) {
  const auto query = mx::expand_dims(mx::arange(length), 1);
  const auto key = mx::expand_dims(mx::arange(length), 0);
  auto mask = mx::less_equal(key, query);
  if (window > 0) mask = mx::logical_and(mask, mx::greater(key, mx::subtract(query, mx::array(window))));
  return mask;
}

}  // namespace

mx::array linear(const mx::array& x, const mx::array& weight, const std::optional<mx::array>& bias) {
  auto y = mx::matmul(x, mx::transpose(mx::astype(weight, x.dtype())));
  return bias ? mx::add(y, mx::astype(*bias, x.dtype())) : y;
}

mx::array expert_linear(const mx::array& x, const mx::array& experts, const mx::array& weight,
                        const std::optional<mx::array>& bias) {
  const int tokens = experts.shape(0), choices = experts.shape(1), in = weight.shape(2);
  const auto rows = x.ndim() == 3 ? x : mx::broadcast_to(mx::expand_dims(x, 1), {tokens, choices, in});
  const auto chosen = mx::take(f32(weight), experts, 0);  // [tokens, choices, out, in]
  auto y = mx::squeeze(mx::matmul(chosen, mx::expand_dims(f32(rows), -1)), -1);
  return bias ? mx::add(y, mx::take(f32(*bias), experts, 0)) : y;
}

mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps, float offset) {
  const auto wide = f32(x);
  auto y = mx::multiply(wide, mx::rsqrt(mx::add(mx::mean(mx::square(wide), -1, true), mx::array(eps))));
  if (weight) {
    const auto scale = f32(*weight);
    y = mx::multiply(y, offset == 0.0f ? scale : mx::add(scale, mx::array(offset)));
  }
  return mx::astype(y, x.dtype());
}

mx::array layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                     const std::optional<mx::array>& bias, float eps) {
  const auto wide = f32(x);
  const auto centred = mx::subtract(wide, mx::mean(wide, -1, true));
  auto y = mx::multiply(centred, mx::rsqrt(mx::add(mx::mean(mx::square(centred), -1, true), mx::array(eps))));
  if (weight) y = mx::multiply(y, f32(*weight));
  if (bias) y = mx::add(y, f32(*bias));
  return mx::astype(y, x.dtype());
}

mx::array rope(const mx::array& x, const mx::array& positions, const RopeParams& params) {
  const int tokens = x.shape(0), heads = x.shape(1), half = params.inv_freq.shape(0);
  const auto angle = mx::multiply(mx::reshape(f32(positions), {tokens, 1, 1}),
                                  mx::reshape(f32(params.inv_freq), {1, 1, half}));
  const auto scaling = mx::array(params.attention_scaling);
  const auto cos = mx::multiply(mx::cos(angle), scaling), sin = mx::multiply(mx::sin(angle), scaling);
  const auto wide = f32(x);
  const auto turned = mx::slice(wide, {0, 0, 0}, {tokens, heads, 2 * half});
  const auto rest = mx::slice(wide, {0, 0, 2 * half}, x.shape());
  auto rotate = [&](const mx::array& a, const mx::array& b) {
    return std::pair(mx::subtract(mx::multiply(a, cos), mx::multiply(b, sin)),
                     mx::add(mx::multiply(b, cos), mx::multiply(a, sin)));
  };
  mx::array y = turned;
  if (params.interleaved) {
    const auto pairs = mx::reshape(turned, {tokens, heads, half, 2});
    const auto parts = mx::split(pairs, 2, -1);
    const auto [a, b] = rotate(mx::squeeze(parts[0], -1), mx::squeeze(parts[1], -1));
    y = mx::reshape(mx::stack({a, b}, -1), {tokens, heads, 2 * half});
  } else {
    const auto parts = mx::split(turned, 2, -1);
    const auto [a, b] = rotate(parts[0], parts[1]);
    y = mx::concatenate({a, b}, -1);
  }
  return mx::astype(mx::concatenate({y, rest}, -1), x.dtype());
}

mx::array activate(const mx::array& x, Activation activation) {
  const auto wide = f32(x);
  mx::array y = wide;
  switch (activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kSilu:
      y = mx::multiply(wide, mx::sigmoid(wide));
      break;
    case Activation::kQuickGelu:
      y = mx::multiply(wide, mx::sigmoid(mx::multiply(mx::array(1.702f), wide)));
      break;
    case Activation::kRelu:
      y = mx::maximum(wide, mx::array(0.0f));
      break;
    case Activation::kGelu:
      y = mx::multiply(mx::multiply(wide, mx::array(0.5f)),
                       mx::add(mx::array(1.0f), mx::erf(mx::multiply(wide, mx::array(std::sqrt(0.5f))))));
      break;
    case Activation::kGeluTanh: {
      const auto cubed = mx::multiply(mx::square(wide), mx::multiply(wide, mx::array(0.044715f)));
      const auto inner = mx::multiply(mx::array(0.7978845608028654f), mx::add(wide, cubed));
      y = mx::multiply(mx::multiply(wide, mx::array(0.5f)), mx::add(mx::array(1.0f), mx::tanh(inner)));
      break;
    }
  }
  return mx::astype(y, x.dtype());
}

mx::array softcap(const mx::array& x, float cap) {
  return mx::multiply(mx::tanh(mx::divide(x, mx::array(cap, x.dtype()))), mx::array(cap, x.dtype()));
}

mx::array attention(const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<int>& lengths, const AttentionParams& p) {
  const int group = p.heads / p.kv_heads;
  std::vector<mx::array> rows;
  int start = 0;
  for (const int length : lengths) {
    // [kv_heads, group, length, dim]
    auto heads_first = [&](const mx::array& a, int g, int dim) {
      const auto row = mx::slice(a, {start, 0, 0}, {start + length, p.kv_heads * g, dim});
      return mx::transpose(mx::reshape(f32(row), {length, p.kv_heads, g, dim}), {1, 2, 0, 3});
    };
    const auto query = mx::multiply(heads_first(q, group, p.head_dim), mx::array(p.scale));
    const auto key = heads_first(k, 1, p.head_dim), value = heads_first(v, 1, p.value_dim);
    auto scores = mx::matmul(query, mx::swapaxes(key, -1, -2));
    if (p.softcap > 0) scores = softcap(scores, p.softcap);
    scores =
        mx::where(causal_mask(length, p.window), scores, mx::array(-std::numeric_limits<float>::infinity()));
    const auto mixed = mx::matmul(mx::softmax(scores, -1, true), value);
    rows.push_back(mx::reshape(mx::transpose(mixed, {2, 0, 1, 3}), {length, p.heads, p.value_dim}));
    start += length;
  }
  return mx::astype(rows.size() == 1 ? rows[0] : mx::concatenate(rows, 0), q.dtype());
}

}  // namespace genkit::ops::composed

#include "genkit/nn/mlp.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"

namespace genkit::nn {

ops::Activation activation_from_name(std::string_view name) {
  using ops::Activation;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluTanh;
  if (name == "quick_gelu") return Activation::kQuickGelu;
  if (name == "relu") return Activation::kRelu;
  throw ArgumentError(fmt::format("hidden_act: unknown activation \"{}\"", name));
}

mx::array GatedMlp::operator()(const mx::array& x) const {
  const auto parts = ops::linear_many(x, {&gate.weight, &up.weight}, {gate.bias, up.bias});
  return down(ops::gated_activation(parts[0], parts[1], activation));
}

mx::array FusedGatedMlp::operator()(const mx::array& x) const {
  const auto parts = mx::split(gate_up(x), 2, 1);
  return down(ops::gated_activation(parts[0], parts[1], activation));
}

mx::array PlainMlp::operator()(const mx::array& x) const { return down(ops::activate(up(x), activation)); }

mx::array MoeMlp::operator()(const mx::array& x) const {
  const int k = experts_per_token;
  const mx::array probabilities = mx::softmax(router(x), -1, true);
  // The order among the chosen does not matter to the sum but to its rounding: take them by rank.
  const mx::array order = mx::argsort(mx::negative(probabilities), -1);
  const mx::array chosen = mx::slice(order, {0, 0}, {x.shape(0), k});
  mx::array weights = mx::take_along_axis(probabilities, chosen, -1);
  if (normalize) weights = mx::divide(weights, mx::sum(weights, -1, true));
  const mx::array experts = mx::astype(chosen, mx::int32);
  const mx::array h = ops::gated_activation(ops::expert_linear(x, experts, gate),
                                            ops::expert_linear(x, experts, up), activation);
  const mx::array y = ops::expert_linear(h, experts, down);  // [tokens, k, hidden]
  return mx::sum(mx::multiply(y, mx::expand_dims(weights, 2)), 1);
}

}  // namespace genkit::nn

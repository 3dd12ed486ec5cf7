#include "genkit/nn/mlp.h"

#include <fmt/format.h>

#include "genkit/base/error.h"
#include "genkit/ops/routing.h"

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

GatedMlp gated_mlp_of_pair(const Linear& gate_up, Linear down, ops::Activation activation) {
  const int both = gate_up.weight.shape[0];
  return {gate_up.outputs(0, both / 2), gate_up.outputs(both / 2, both), std::move(down), activation};
}

mx::array GatedMlp::operator()(const mx::array& x) const {
  const auto parts = ops::linear_many(x, {&gate.weight, &up.weight}, {gate.bias, up.bias});
  return down(ops::gated_activation(parts[0], parts[1], activation));
}

mx::array PlainMlp::operator()(const mx::array& x) const { return down(ops::activate(up(x), activation)); }

mx::array MoeMlp::operator()(const mx::array& x) const {
  const ops::Routes routes = ops::route(router(x), experts_per_token, normalize);
  const mx::array h = ops::gated_activation(ops::expert_linear(x, routes.experts, gate),
                                            ops::expert_linear(x, routes.experts, up), activation);
  return ops::mix_experts(ops::expert_linear(h, routes.experts, down), routes.weights);
}

}  // namespace genkit::nn

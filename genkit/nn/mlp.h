#pragma once

#include <mlx/array.h>

#include <string_view>

#include "genkit/nn/linear.h"
#include "genkit/ops/layers.h"

namespace genkit::nn {

/// The activation that a configuration calls `name`. @throws ArgumentError for an unknown one.
ops::Activation activation_from_name(std::string_view name);

/// down(act(gate(x)) * up(x)).
struct GatedMlp {
  Linear gate, up, down;
  ops::Activation activation = ops::Activation::kSilu;

  mx::array operator()(const mx::array& x) const;
};

/// A gated MLP whose file has gate and up in one matrix, gate first (phi3, glm4).
GatedMlp gated_mlp_of_pair(const Linear& gate_up, Linear down, ops::Activation activation);

/// down(act(up(x))).
struct PlainMlp {
  Linear up, down;
  ops::Activation activation = ops::Activation::kGelu;

  mx::array operator()(const mx::array& x) const;
};

/// A router chooses a few of many gated MLPs for every token and adds up their weighted outputs.
struct MoeMlp {
  Linear router;               ///< [experts, hidden]
  ops::Weight gate, up, down;  ///< [experts, out, in]
  int experts_per_token = 1;
  bool normalize = true;  ///< the chosen weights are made to add up to 1
  ops::Activation activation = ops::Activation::kSilu;

  mx::array operator()(const mx::array& x) const;
};

}  // namespace genkit::nn

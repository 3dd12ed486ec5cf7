#pragma once

#include <mlx/array.h>

#include <optional>

#include "genkit/ops/linear.h"

namespace genkit::nn {

namespace mx = mlx::core;

/// x W^T + b. @see ops::linear.
struct Linear {
  ops::Weight weight;             ///< [out, in]
  std::optional<mx::array> bias;  ///< [out] float32

  mx::array operator()(const mx::array& x) const { return ops::linear(x, weight, bias); }
};

}  // namespace genkit::nn

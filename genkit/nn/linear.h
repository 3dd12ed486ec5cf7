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
  /// The layer that computes outputs [begin, end) alone, over the same memory: how a model whose
  /// file keeps several projections in one matrix takes them apart.
  Linear outputs(int begin, int end) const;
};

}  // namespace genkit::nn

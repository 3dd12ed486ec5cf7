#include "genkit/nn/norm.h"

#include <mlx/ops.h>

#include "genkit/ops/layers.h"

namespace genkit::nn {

mx::array Norm::operator()(const mx::array& x) const {
  if (weight && weight->ndim() > 1) {
    const mx::array y = kind == Kind::kRms ? ops::rms_norm(x, std::nullopt, eps)
                                           : ops::layer_norm(x, std::nullopt, std::nullopt, eps);
    return mx::multiply(y, *weight);
  }
  return kind == Kind::kRms ? ops::rms_norm(x, weight, eps, offset) : ops::layer_norm(x, weight, bias, eps);
}

}  // namespace genkit::nn

#include "genkit/ops/layers.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

void check_norm(const char* op, const mx::array& x, const std::optional<mx::array>& a) {
  if (x.ndim() == 0) throw ArgumentError(fmt::format("{}: expected at least one dimension", op));
  if (a && (a->ndim() != 1 || a->shape(0) != x.shape(-1)))
    throw ArgumentError(fmt::format("{}: parameters of shape {} do not fit an input of shape {}", op,
                                    to_string(a->shape()), to_string(x.shape())));
}

}  // namespace

mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps, float offset) {
  check_norm("rms_norm", x, weight);
  return composed::rms_norm(x, weight, eps, offset);
}

std::pair<mx::array, mx::array> residual_rms_norm(const mx::array& residual, const mx::array& y,
                                                  const std::optional<mx::array>& post_weight,
                                                  const std::optional<mx::array>& weight, float eps,
                                                  float offset) {
  if (residual.shape() != y.shape())
    throw ArgumentError(fmt::format("residual_rms_norm: residual and y have different shapes, {} and {}",
                                    to_string(residual.shape()), to_string(y.shape())));
  const auto sum = mx::add(residual, post_weight ? rms_norm(y, post_weight, eps, offset) : y);
  return {sum, rms_norm(sum, weight, eps, offset)};
}

mx::array layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                     const std::optional<mx::array>& bias, float eps) {
  check_norm("layer_norm", x, weight);
  check_norm("layer_norm", x, bias);
  return composed::layer_norm(x, weight, bias, eps);
}

mx::array rope(const mx::array& x, const mx::array& positions, const RopeParams& params) {
  if (x.ndim() != 3 || positions.ndim() != 1 || positions.shape(0) != x.shape(0))
    throw ArgumentError(
        fmt::format("rope: expected x [tokens, heads, head_dim] and positions [tokens], got {} and {}",
                    to_string(x.shape()), to_string(positions.shape())));
  if (params.inv_freq.ndim() != 1 || 2 * params.inv_freq.shape(0) > x.shape(2))
    throw ArgumentError(fmt::format("rope: frequencies of shape {} do not fit heads of {}",
                                    to_string(params.inv_freq.shape()), x.shape(2)));
  return composed::rope(x, positions, params);
}

mx::array activate(const mx::array& x, Activation activation) { return composed::activate(x, activation); }

mx::array gated_activation(const mx::array& gate, const mx::array& up, Activation activation) {
  if (gate.shape() != up.shape())
    throw ArgumentError(fmt::format("gated_activation: gate and up have different shapes, {} and {}",
                                    to_string(gate.shape()), to_string(up.shape())));
  return mx::multiply(composed::activate(gate, activation), up);
}

mx::array softcap(const mx::array& x, float cap) {
  if (!(cap > 0)) throw ArgumentError(fmt::format("softcap: expected a positive cap, got {}", cap));
  return composed::softcap(x, cap);
}

}  // namespace genkit::ops

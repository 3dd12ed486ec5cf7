#include "genkit/ops/linear.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/weight_view.h"

namespace genkit::ops {
namespace {

std::string label(const Weight& w) { return w.name.empty() ? "weight" : w.name; }

void check_linear(const mx::array& x, const Weight& w, const std::optional<mx::array>& bias) {
  check_weight(w);
  if (w.shape.size() != 2)
    throw ArgumentError(fmt::format("{}: expected a matrix, got shape {}", label(w), to_string(w.shape)));
  if (x.ndim() != 2 || x.shape(1) != w.shape[1])
    throw ArgumentError(fmt::format("{}: a weight of shape {} cannot multiply an input of shape {}", label(w),
                                    to_string(w.shape), to_string(x.shape())));
  if (bias && (bias->ndim() != 1 || bias->shape(0) != w.shape[0]))
    throw ArgumentError(fmt::format("{}: expected a bias of shape [{}], got {}", label(w), w.shape[0],
                                    to_string(bias->shape())));
}

void check_expert_linear(const mx::array& x, const mx::array& experts, const Weight& w,
                         const std::optional<mx::array>& bias) {
  check_weight(w);
  if (w.shape.size() != 3)
    throw ArgumentError(
        fmt::format("{}: expected a stack of matrices, got shape {}", label(w), to_string(w.shape)));
  const bool fits = experts.ndim() == 2 && experts.dtype() == mx::int32 && (x.ndim() == 2 || x.ndim() == 3) &&
                    x.shape(-1) == w.shape[2] && x.shape(0) == experts.shape(0) &&
                    (x.ndim() == 2 || x.shape(1) == experts.shape(1));
  if (!fits)
    throw ArgumentError(
        fmt::format("{}: experts of shape {} do not fit an input of shape {} and choices of shape {}",
                    label(w), to_string(w.shape), to_string(x.shape()), to_string(experts.shape())));
  if (bias && bias->shape() != mx::Shape{w.shape[0], w.shape[1]})
    throw ArgumentError(fmt::format("{}: expected a bias of shape [{}, {}], got {}", label(w), w.shape[0],
                                    w.shape[1], to_string(bias->shape())));
}

}  // namespace

mx::array linear(const mx::array& x, const Weight& w, const std::optional<mx::array>& bias) {
  check_linear(x, w, bias);
  return composed::linear(x, composed::dequantize(w), bias);
}

std::vector<mx::array> linear_many(const mx::array& x, const std::vector<const Weight*>& weights,
                                   const std::vector<std::optional<mx::array>>& biases) {
  if (!biases.empty() && biases.size() != weights.size())
    throw ArgumentError(fmt::format("linear_many: {} weights and {} biases", weights.size(), biases.size()));
  std::vector<mx::array> out;
  for (size_t i = 0; i < weights.size(); ++i)
    out.push_back(linear(x, *weights[i], biases.empty() ? std::nullopt : biases[i]));
  return out;
}

mx::array expert_linear(const mx::array& x, const mx::array& experts, const Weight& w,
                        const std::optional<mx::array>& bias) {
  check_expert_linear(x, experts, w, bias);
  return composed::expert_linear(x, experts, composed::dequantize(w), bias);
}

}  // namespace genkit::ops

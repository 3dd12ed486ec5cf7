#include "genkit/ops/routing.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/routing.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

using Arrays = std::vector<mx::array>;

// Inputs: logits, experts, gradient of the weights. Output: gradient of the logits.
mx::array route_gradient(const mx::array& logits, const mx::array& experts, const mx::array& dweights,
                         bool normalize) {
  auto evaluate = [normalize](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const kernels::RouteTask task{row_major(stream, in[0]).data<float>(), in[0].shape(0), in[0].shape(1),
                                  in[1].shape(1), normalize};
    dispatch(stream, [task, chosen = row_major(stream, in[1]).data<int32_t>(),
                      d = row_major(stream, in[2]).data<float>(),
                      to = out[0].data<float>()] { kernels::route_gradient(task, chosen, d, to); });
  };
  return function_node("genkit::RouteGradient", {logits, experts, dweights}, {logits.shape()}, {mx::float32},
                       {std::move(evaluate), nullptr, nullptr})[0];
}

}  // namespace

namespace composed {

Arrays route(const mx::array& logits, int choices, bool normalize) {
  const mx::array probabilities = mx::softmax(logits, -1, true);
  const mx::array order = mx::argsort(mx::negative(probabilities), -1);
  const mx::array chosen = mx::stop_gradient(mx::slice(order, {0, 0}, {logits.shape(0), choices}));
  mx::array weights = mx::take_along_axis(probabilities, chosen, -1);
  if (normalize) weights = mx::divide(weights, mx::sum(weights, -1, true));
  return {mx::astype(chosen, mx::int32), weights};
}

mx::array mix_experts(const mx::array& y, const mx::array& weights) {
  return mx::sum(mx::multiply(y, mx::expand_dims(weights, 2)), 1);
}

}  // namespace composed

Routes route(const mx::array& logits, int choices, bool normalize) {
  if (logits.ndim() != 2 || choices < 1 || choices > logits.shape(1))
    throw ArgumentError(fmt::format("route: cannot choose {} of the experts of logits of shape {}", choices,
                                    to_string(logits.shape())));
  auto composed = [=](const Arrays& in) { return composed::route(in[0], choices, normalize); };
  if (!on_cpu()) {
    const Arrays out = composed({to_f32(logits)});
    return {out[0], out[1]};
  }
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    allocate(out[1]);
    const kernels::RouteTask task{row_major(stream, in[0]).data<float>(), in[0].shape(0), in[0].shape(1),
                                  choices, normalize};
    dispatch(stream, [task, chosen = out[0].data<int32_t>(), weights = out[1].data<float>()] {
      kernels::route(task, chosen, weights);
    });
  };
  auto gradient = [=](const Gradient& g) -> Arrays {
    return {route_gradient(g.inputs[0], g.outputs[0], g.cotangents[1], normalize)};
  };
  const mx::Shape shape = {logits.shape(0), choices};
  const Arrays out = function_node("genkit::Route", {to_f32(logits)}, {shape, shape},
                                   {mx::int32, mx::float32}, {evaluate, composed, gradient});
  return {out[0], out[1]};
}

mx::array mix_experts(const mx::array& y, const mx::array& weights) {
  if (y.ndim() != 3 || weights.shape() != mx::Shape{y.shape(0), y.shape(1)})
    throw ArgumentError(fmt::format("mix_experts: weights of shape {} do not fit outputs of shape {}",
                                    to_string(weights.shape()), to_string(y.shape())));
  auto composed = [](const Arrays& in) -> Arrays { return {composed::mix_experts(in[0], in[1])}; };
  if (!on_cpu()) return composed({y, weights})[0];
  const int64_t tokens = y.shape(0), choices = y.shape(1), n = y.shape(2);
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    dispatch(stream,
             [=, y = row_major(stream, in[0]).data<float>(), weights = row_major(stream, in[1]).data<float>(),
              to = out[0].data<float>()] { kernels::mix_experts(y, weights, tokens, choices, n, to); });
  };
  auto evaluate_gradient = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    allocate(out[1]);
    dispatch(stream,
             [=, y = row_major(stream, in[0]).data<float>(), weights = row_major(stream, in[1]).data<float>(),
              d = row_major(stream, in[2]).data<float>(), dy = out[0].data<float>(),
              dweights = out[1].data<float>()] {
               kernels::mix_experts_gradient(y, weights, d, tokens, choices, n, dy, dweights);
             });
  };
  auto gradient = [=](const Gradient& g) {
    return function_node("genkit::MixExpertsGradient", {g.inputs[0], g.inputs[1], g.cotangents[0]},
                         {g.inputs[0].shape(), g.inputs[1].shape()}, {mx::float32, mx::float32},
                         {evaluate_gradient, nullptr, nullptr});
  };
  return function_node("genkit::MixExperts", {to_f32(y), to_f32(weights)},
                       {mx::Shape{y.shape(0), y.shape(2)}}, {mx::float32}, {evaluate, composed, gradient})[0];
}

}  // namespace genkit::ops

#include "genkit/ops/loss.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/gradients.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

using Arrays = std::vector<mx::array>;

void check_targets(const int32_t* targets, int64_t count, int64_t vocab) {
  for (int64_t i = 0; i < count; ++i) {
    if (targets[i] >= vocab)
      throw ArgumentError(
          fmt::format("cross_entropy: target {} lies outside a vocabulary of {}", targets[i], vocab));
  }
}

}  // namespace

namespace composed {

mx::array log_softmax(const mx::array& x) { return mx::subtract(x, mx::logsumexp(x, -1, true)); }

mx::array cross_entropy(const mx::array& logits, const mx::array& targets) {
  const mx::array counts = mx::greater_equal(targets, mx::array(0));
  const mx::array held = mx::expand_dims(mx::maximum(targets, mx::array(0)), 1);
  const mx::array loss = mx::negative(mx::squeeze(mx::take_along_axis(log_softmax(logits), held, 1), 1));
  return mx::where(counts, loss, mx::array(0.0f));
}

}  // namespace composed

mx::array cross_entropy(const mx::array& logits, const mx::array& targets) {
  if (logits.ndim() != 2 || targets.ndim() != 1 || targets.dtype() != mx::int32 ||
      targets.shape(0) != logits.shape(0))
    throw ArgumentError(fmt::format(
        "cross_entropy: expected logits [tokens, vocab] and int32 targets [tokens], got {} and {}",
        to_string(logits.shape()), to_string(targets.shape())));
  const int64_t tokens = logits.shape(0), vocab = logits.shape(1);
  if (targets.is_available() && targets.flags().row_contiguous)
    check_targets(targets.data<int32_t>(), tokens, vocab);
  auto composed = [](const Arrays& in) -> Arrays { return {composed::cross_entropy(in[0], in[1])}; };
  if (!on_cpu()) return composed({to_f32(logits), targets})[0];
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    dispatch(stream, [=, x = row_major(stream, in[0]).data<float>(),
                      targets = row_major(stream, in[1]).data<int32_t>(), to = out[0].data<float>()] {
      check_targets(targets, tokens, vocab);
      kernels::cross_entropy(x, targets, tokens, vocab, to);
    });
  };
  auto evaluate_gradient = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    dispatch(stream, [=, x = row_major(stream, in[0]).data<float>(),
                      targets = row_major(stream, in[1]).data<int32_t>(),
                      dy = row_major(stream, in[2]).data<float>(), to = out[0].data<float>()] {
      kernels::cross_entropy_gradient(x, targets, dy, tokens, vocab, to);
    });
  };
  auto gradient = [=](const Gradient& g) {
    return function_node("genkit::CrossEntropyGradient", {g.inputs[0], g.inputs[1], g.cotangents[0]},
                         {g.inputs[0].shape()}, {mx::float32}, {evaluate_gradient, nullptr, nullptr});
  };
  return function_node("genkit::CrossEntropy", {to_f32(logits), targets}, {targets.shape()}, {mx::float32},
                       {evaluate, composed, gradient})[0];
}

mx::array log_softmax(const mx::array& x) {
  if (x.ndim() == 0) throw ArgumentError("log_softmax: expected at least one dimension");
  if (!on_cpu()) return composed::log_softmax(to_f32(x));
  const int64_t n = x.shape(-1), rows = n ? static_cast<int64_t>(x.size()) / n : 0;
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    dispatch(stream, [=, x = row_major(stream, in[0]).data<float>(), to = out[0].data<float>()] {
      kernels::log_softmax(x, rows, n, to);
    });
  };
  auto evaluate_gradient = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    dispatch(stream,
             [=, y = row_major(stream, in[0]).data<float>(), dy = row_major(stream, in[1]).data<float>(),
              to = out[0].data<float>()] { kernels::log_softmax_gradient(y, dy, rows, n, to); });
  };
  auto gradient = [=](const Gradient& g) {
    return function_node("genkit::LogSoftmaxGradient", {g.outputs[0], g.cotangents[0]}, {x.shape()},
                         {mx::float32}, {evaluate_gradient, nullptr, nullptr});
  };
  auto composed = [](const Arrays& in) -> Arrays { return {composed::log_softmax(in[0])}; };
  return function_node("genkit::LogSoftmax", {to_f32(x)}, {x.shape()}, {mx::float32},
                       {evaluate, composed, gradient})[0];
}

}  // namespace genkit::ops

#include "genkit/ops/steer.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <memory>

#include "genkit/base/error.h"
#include "genkit/kernels/steer.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

using Arrays = std::vector<mx::array>;
using Steps = std::vector<SteerStep>;

/// Inputs of the node: x, then each step's direction and, where it has one, condition.
Arrays inputs_of(const mx::array& x, const Steps& steps) {
  Arrays inputs = {to_f32(x)};
  for (const SteerStep& step : steps) {
    inputs.push_back(to_f32(step.direction));
    if (step.condition) inputs.push_back(to_f32(*step.condition));
  }
  return inputs;
}

mx::array length(const mx::array& x) { return mx::sqrt(mx::sum(mx::square(x), -1, true)); }

/// One step on all rows. Rows that it leaves alone are chosen, not computed, so that their bits stay.
mx::array composed_step(const mx::array& x, const SteerStep& step, const mx::array& v,
                        const std::optional<mx::array>& condition) {
  const int rows = x.shape(0);
  mx::array a = mx::array(step.coefficients.data(), {rows, 1}, mx::float32);
  mx::array act = mx::not_equal(a, mx::array(0.0f));
  if (condition) {
    const mx::array norm = length(x);
    const mx::array dot = mx::sum(mx::multiply(x, *condition), -1, true);
    // Of a row of length 0 the cosine is 0, and its gradient no NaN.
    const mx::array some = mx::greater(norm, mx::array(0.0f));
    const mx::array cosine =
        mx::where(some, mx::divide(dot, mx::where(some, norm, mx::array(1.0f))), mx::array(0.0f));
    const mx::array threshold(step.threshold);
    act = mx::logical_and(act, step.below ? mx::less(cosine, threshold) : mx::greater(cosine, threshold));
  }
  if (step.relative) a = mx::multiply(a, length(x));
  mx::array y = x;
  switch (step.op) {
    case SteerOp::kAdd:
      y = mx::add(x, mx::multiply(a, v));
      break;
    case SteerOp::kAddKeepNorm: {
      y = mx::add(x, mx::multiply(a, v));
      const mx::array after = length(y);
      const mx::array some = mx::greater(after, mx::array(0.0f));
      y = mx::where(some, mx::multiply(y, mx::divide(length(x), mx::where(some, after, mx::array(1.0f)))), y);
      break;
    }
    case SteerOp::kProject: {
      const mx::array along = mx::sum(mx::multiply(x, v), -1, true);
      y = mx::add(x, mx::multiply(a, mx::subtract(mx::multiply(along, v), x)));
      break;
    }
    case SteerOp::kAblate: {
      const mx::array along = mx::sum(mx::multiply(x, v), -1, true);
      y = mx::add(x, mx::multiply(mx::multiply(mx::negative(a), along), v));
      break;
    }
  }
  return mx::where(act, y, x);
}

Arrays composed_steps(const Arrays& in, const Steps& steps) {
  mx::array y = in[0];
  size_t next = 1;
  for (const SteerStep& step : steps) {
    const mx::array& v = in[next++];
    const auto condition = step.condition ? std::optional(in[next++]) : std::nullopt;
    y = composed_step(y, step, v, condition);
  }
  return {y};
}

kernels::SteerKind kind_of(SteerOp op) {
  switch (op) {
    case SteerOp::kAdd:
      return kernels::SteerKind::kAdd;
    case SteerOp::kAddKeepNorm:
      return kernels::SteerKind::kAddKeepNorm;
    case SteerOp::kProject:
      return kernels::SteerKind::kProject;
    case SteerOp::kAblate:
      return kernels::SteerKind::kAblate;
  }
  return kernels::SteerKind::kAdd;
}

void evaluate(const mx::Stream& stream, const Arrays& in, Arrays& out,
              const std::shared_ptr<const Steps>& steps) {
  const mx::array x = row_major(stream, in[0]);
  allocate(out[0]);
  std::vector<kernels::SteerTask> tasks;
  size_t next = 1;
  for (const SteerStep& step : *steps) {
    kernels::SteerTask& task = tasks.emplace_back();
    task.kind = kind_of(step.op);
    task.direction = row_major(stream, in[next++]).data<float>();
    task.coefficients = step.coefficients.data();
    task.relative = step.relative;
    if (step.condition) task.condition = row_major(stream, in[next++]).data<float>();
    task.threshold = step.threshold;
    task.below = step.below;
  }
  // The steps are held: the coefficients are theirs.
  dispatch(stream, [steps, tasks = std::move(tasks), from = x.data<float>(), rows = int64_t{in[0].shape(0)},
                    n = int64_t{in[0].shape(1)}, to = out[0].data<float>()] {
    kernels::steer(from, rows, n, tasks.data(), static_cast<int64_t>(tasks.size()), to);
  });
}

void check(const mx::array& x, const SteerStep& step) {
  const auto fits = [&](const mx::array& v) { return v.ndim() == 1 && v.shape(0) == x.shape(1); };
  if (!fits(step.direction))
    throw ArgumentError(fmt::format("steer: a direction of shape {} does not fit rows of {}",
                                    to_string(step.direction.shape()), x.shape(1)));
  if (step.condition && !fits(*step.condition))
    throw ArgumentError(fmt::format("steer: a condition of shape {} does not fit rows of {}",
                                    to_string(step.condition->shape()), x.shape(1)));
  if (step.coefficients.size() != static_cast<size_t>(x.shape(0)))
    throw ArgumentError(
        fmt::format("steer: {} coefficients for {} rows", step.coefficients.size(), x.shape(0)));
}

}  // namespace

mx::array steer(const mx::array& x, const std::vector<SteerStep>& steps) {
  if (x.ndim() != 2)
    throw ArgumentError(fmt::format("steer: expected x [rows, n], got {}", to_string(x.shape())));
  auto acting = std::make_shared<Steps>();
  for (const SteerStep& step : steps) {
    check(x, step);
    const auto& a = step.coefficients;
    if (std::any_of(a.begin(), a.end(), [](float c) { return c != 0; })) acting->push_back(step);
  }
  if (acting->empty()) return x;
  const Arrays inputs = inputs_of(x, *acting);
  std::shared_ptr<const Steps> kept = acting;
  auto run = [kept](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    evaluate(stream, in, out, kept);
  };
  auto composed = [kept](const Arrays& in) { return composed_steps(in, *kept); };
  const mx::array y = on_cpu() ? function_node("genkit::Steer", inputs, {x.shape()}, {mx::float32},
                                               {run, composed, nullptr})[0]
                               : composed(inputs)[0];
  return x.dtype() == mx::float32 ? y : mx::astype(y, x.dtype());
}

}  // namespace genkit::ops

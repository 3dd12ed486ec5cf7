#include "genkit/ops/layers.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/gradients.h"
#include "genkit/kernels/layers.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/eager.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

using Arrays = std::vector<mx::array>;

void check_norm(const char* op, const mx::array& x, const std::optional<mx::array>& a) {
  if (x.ndim() == 0) throw ArgumentError(fmt::format("{}: expected at least one dimension", op));
  if (a && (a->ndim() != 1 || a->shape(0) != x.shape(-1)))
    throw ArgumentError(fmt::format("{}: parameters of shape {} do not fit an input of shape {}", op,
                                    to_string(a->shape()), to_string(x.shape())));
}

// A node over fp32 arrays with one output like its first input, back in that one's dtype.
mx::array node(const char* name, const Arrays& inputs, NodeFunctions functions) {
  Arrays wide;
  for (const auto& a : inputs) wide.push_back(a.dtype() == mx::int32 ? a : to_f32(a));
  const mx::array y =
      function_node(name, std::move(wide), {inputs[0].shape()}, {mx::float32}, std::move(functions))[0];
  return inputs[0].dtype() == mx::float32 ? y : mx::astype(y, inputs[0].dtype());
}

// Memory and pointers of a node about to run.
std::vector<const float*> floats(const mx::Stream& stream, const Arrays& inputs) {
  std::vector<const float*> pointers;
  for (const auto& a : inputs) pointers.push_back(row_major(stream, a).data<float>());
  return pointers;
}

struct Rows {
  int64_t count, length;
  explicit Rows(const mx::array& x)
      : count(x.shape(-1) ? static_cast<int64_t>(x.size()) / x.shape(-1) : 0), length(x.shape(-1)) {}
};

// Gradients of a norm's inputs {x, weight, bias}, those that there are.
Arrays norm_gradients(const Gradient& g, void (*run)(const kernels::NormGradient&), bool has_weight,
                      bool has_bias, float eps, float offset) {
  Arrays inputs = g.inputs;
  inputs.push_back(g.cotangents[0]);
  std::vector<mx::Shape> shapes;
  for (const auto& a : g.inputs) shapes.push_back(a.shape());
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    const auto from = floats(stream, in);
    for (auto& a : out) allocate(a);
    const Rows rows(in[0]);
    kernels::NormGradient task;
    task.x = from[0];
    task.dy = from.back();
    task.rows = rows.count;
    task.n = rows.length;
    task.params = {has_weight ? from[1] : nullptr, nullptr, eps, offset};
    task.dx = out[0].data<float>();
    if (has_weight) task.dweight = out[1].data<float>();
    if (has_bias) task.dbias = out[1 + has_weight].data<float>();
    dispatch(stream, [task, run] { run(task); });
  };
  return function_node("genkit::NormGradient", inputs, shapes,
                       std::vector<mx::Dtype>(shapes.size(), mx::float32), {evaluate, nullptr, nullptr});
}

std::optional<mx::array> input_if(bool there, const Arrays& inputs, size_t& next) {
  return there ? std::optional(inputs[next++]) : std::nullopt;
}

}  // namespace

kernels::ActivationKind kind_of(Activation a) {
  switch (a) {
    case Activation::kSilu:
      return kernels::ActivationKind::kSilu;
    case Activation::kGelu:
      return kernels::ActivationKind::kGelu;
    case Activation::kGeluTanh:
      return kernels::ActivationKind::kGeluTanh;
    case Activation::kRelu:
      return kernels::ActivationKind::kRelu;
    case Activation::kQuickGelu:
      return kernels::ActivationKind::kQuickGelu;
    case Activation::kIdentity:
      return kernels::ActivationKind::kIdentity;
  }
  return kernels::ActivationKind::kIdentity;
}

mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps, float offset) {
  check_norm("rms_norm", x, weight);
  if (!on_cpu()) return composed::rms_norm(x, weight, eps, offset);
  Arrays inputs = {x};
  if (weight) inputs.push_back(*weight);
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, in);
    const Rows rows(in[0]);
    const kernels::NormParams params{from.size() > 1 ? from[1] : nullptr, nullptr, eps, offset};
    dispatch(stream, [=, to = out[0].data<float>()] {
      kernels::rms_norm(from[0], rows.count, rows.length, params, to);
    });
  };
  auto composed = [=](const Arrays& in) -> Arrays {
    return {composed::rms_norm(in[0], in.size() > 1 ? std::optional(in[1]) : std::nullopt, eps, offset)};
  };
  auto gradient = [=](const Gradient& g) {
    return norm_gradients(g, kernels::rms_norm_gradient, g.inputs.size() > 1, false, eps, offset);
  };
  return node("genkit::RmsNorm", inputs, {evaluate, composed, gradient});
}

std::pair<mx::array, mx::array> residual_rms_norm(const mx::array& residual, const mx::array& y,
                                                  const std::optional<mx::array>& post_weight,
                                                  const std::optional<mx::array>& weight, float eps,
                                                  float offset) {
  if (residual.shape() != y.shape())
    throw ArgumentError(fmt::format("residual_rms_norm: residual and y have different shapes, {} and {}",
                                    to_string(residual.shape()), to_string(y.shape())));
  check_norm("residual_rms_norm", y, post_weight);
  check_norm("residual_rms_norm", y, weight);
  const bool has_post = post_weight.has_value(), has_weight = weight.has_value();
  auto composed = [=](const Arrays& in) -> Arrays {
    size_t next = 2;
    const auto post = input_if(has_post, in, next), w = input_if(has_weight, in, next);
    const auto sum = mx::add(in[0], post ? composed::rms_norm(in[1], post, eps, offset) : in[1]);
    return {sum, composed::rms_norm(sum, w, eps, offset)};
  };
  Arrays inputs = {to_f32(residual), to_f32(y)};
  if (post_weight) inputs.push_back(to_f32(*post_weight));
  if (weight) inputs.push_back(to_f32(*weight));
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    allocate(out[1]);
    const auto from = floats(stream, in);
    const Rows rows(in[0]);
    const kernels::NormParams post{has_post ? from[2] : nullptr, nullptr, eps, offset};
    const kernels::NormParams norm{has_weight ? from[2 + has_post] : nullptr, nullptr, eps, offset};
    dispatch(stream, [=, sum = out[0].data<float>(), normed = out[1].data<float>()] {
      kernels::residual_rms_norm(from[0], from[1], rows.count, rows.length, has_post ? &post : nullptr, norm,
                                 sum, normed);
    });
  };
  // d sum is what comes for it and what comes back through its norm; y gets that through its own norm.
  auto gradient = [=](const Gradient& g) -> Arrays {
    Arrays sum_and_weight = {g.outputs[0]};
    if (has_weight) sum_and_weight.push_back(g.inputs[2 + has_post]);
    const Arrays inner = norm_gradients({sum_and_weight, {g.cotangents[1]}, {}}, kernels::rms_norm_gradient,
                                        has_weight, false, eps, offset);
    const mx::array dsum = mx::add(g.cotangents[0], inner[0]);
    Arrays all = {dsum, dsum};
    if (has_post) {
      const Arrays outer = norm_gradients({{g.inputs[1], g.inputs[2]}, {dsum}, {}},
                                          kernels::rms_norm_gradient, true, false, eps, offset);
      all[1] = outer[0];
      all.push_back(outer[1]);
    }
    if (has_weight) all.push_back(inner[1]);
    return all;
  };
  Arrays out = on_cpu() ? function_node("genkit::ResidualRmsNorm", inputs, {y.shape(), y.shape()},
                                        {mx::float32, mx::float32}, {evaluate, composed, gradient})
                        : composed(inputs);
  if (y.dtype() != mx::float32) {
    for (auto& a : out) a = mx::astype(a, y.dtype());
  }
  return {out[0], out[1]};
}

mx::array layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                     const std::optional<mx::array>& bias, float eps) {
  check_norm("layer_norm", x, weight);
  check_norm("layer_norm", x, bias);
  if (!on_cpu()) return composed::layer_norm(x, weight, bias, eps);
  const bool has_weight = weight.has_value(), has_bias = bias.has_value();
  Arrays inputs = {x};
  if (weight) inputs.push_back(*weight);
  if (bias) inputs.push_back(*bias);
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, in);
    const Rows rows(in[0]);
    const kernels::NormParams params{has_weight ? from[1] : nullptr,
                                     has_bias ? from[1 + has_weight] : nullptr, eps, 0};
    dispatch(stream, [=, to = out[0].data<float>()] {
      kernels::layer_norm(from[0], rows.count, rows.length, params, to);
    });
  };
  auto composed = [=](const Arrays& in) -> Arrays {
    size_t next = 1;
    const auto w = input_if(has_weight, in, next), b = input_if(has_bias, in, next);
    return {composed::layer_norm(in[0], w, b, eps)};
  };
  auto gradient = [=](const Gradient& g) {
    return norm_gradients(g, kernels::layer_norm_gradient, has_weight, has_bias, eps, 0);
  };
  return node("genkit::LayerNorm", inputs, {evaluate, composed, gradient});
}

mx::array rope(const mx::array& x, const mx::array& positions, const RopeParams& params) {
  if (x.ndim() != 3 || positions.ndim() != 1 || positions.shape(0) != x.shape(0) ||
      positions.dtype() != mx::int32)
    throw ArgumentError(
        fmt::format("rope: expected x [tokens, heads, head_dim] and int32 positions [tokens], got {} and {}",
                    to_string(x.shape()), to_string(positions.shape())));
  if (params.inv_freq.ndim() != 1 || 2 * params.inv_freq.shape(0) > x.shape(2))
    throw ArgumentError(fmt::format("rope: frequencies of shape {} do not fit heads of {}",
                                    to_string(params.inv_freq.shape()), x.shape(2)));
  if (!on_cpu()) return composed::rope(x, positions, params);
  const float scaling = params.attention_scaling;
  const bool interleaved = params.interleaved;
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, {in[0], in[1]});
    kernels::RopeTask task{.tokens = in[0].shape(0),
                           .heads = in[0].shape(1),
                           .dim = in[0].shape(2),
                           .inv_freq = from[1],
                           .half_dims = in[1].shape(0),
                           .positions = row_major(stream, in[2]).data<int32_t>(),
                           .scaling = scaling,
                           .interleaved = interleaved};
    dispatch(stream, [task, x = from[0], to = out[0].data<float>()] { kernels::rope(x, task, to); });
  };
  auto composed = [=](const Arrays& in) -> Arrays {
    RopeParams moved;
    moved.inv_freq = in[1];
    moved.attention_scaling = scaling;
    moved.interleaved = interleaved;
    return {composed::rope(in[0], in[2], moved)};
  };
  // The transpose of a rotation turns the other way.
  auto gradient = [=](const Gradient& g) -> Arrays {
    RopeParams back;
    back.inv_freq = g.inputs[1];
    back.attention_scaling = scaling;
    back.interleaved = interleaved;
    return {rope(g.cotangents[0], mx::negative(g.inputs[2]), back)};
  };
  return node("genkit::Rope", {x, params.inv_freq, positions}, {evaluate, composed, gradient});
}

namespace {

// activation(x), or activation(x) * up with a second input.
NodeFunctions activation_functions(Activation activation, bool gated) {
  NodeFunctions f;
  f.evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, in);
    dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
      kernels::activate(kind_of(activation), from[0], gated ? from[1] : nullptr, n, to);
    });
  };
  f.composed = [=](const Arrays& in) -> Arrays {
    const auto y = composed::activate(in[0], activation);
    return {gated ? mx::multiply(y, in[1]) : y};
  };
  auto run = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    for (auto& a : out) allocate(a);
    const auto from = floats(stream, in);
    dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), dx = out[0].data<float>(),
                      dup = gated ? out[1].data<float>() : nullptr] {
      kernels::activate_gradient(kind_of(activation), from[0], gated ? from[1] : nullptr, from.back(), n, dx,
                                 dup);
    });
  };
  f.gradient = [=](const Gradient& g) {
    Arrays inputs = g.inputs;
    inputs.push_back(g.cotangents[0]);
    return function_node("genkit::ActivationGradient", inputs,
                         std::vector<mx::Shape>(g.inputs.size(), g.inputs[0].shape()),
                         std::vector<mx::Dtype>(g.inputs.size(), mx::float32), {run, nullptr, nullptr});
  };
  return f;
}

}  // namespace

mx::array activate(const mx::array& x, Activation activation) {
  if (activation == Activation::kIdentity) return x;
  if (!on_cpu()) return composed::activate(x, activation);
  return node("genkit::Activate", {x}, activation_functions(activation, false));
}

mx::array gated_activation(const mx::array& gate, const mx::array& up, Activation activation) {
  if (gate.shape() != up.shape())
    throw ArgumentError(fmt::format("gated_activation: gate and up have different shapes, {} and {}",
                                    to_string(gate.shape()), to_string(up.shape())));
  NodeFunctions functions = activation_functions(activation, true);
  if (!on_cpu()) return functions.composed({gate, up})[0];
  return node("genkit::GatedActivation", {gate, up}, std::move(functions));
}

mx::array softcap(const mx::array& x, float cap) {
  if (!(cap > 0)) throw ArgumentError(fmt::format("softcap: expected a positive cap, got {}", cap));
  if (!on_cpu()) return composed::softcap(x, cap);
  auto evaluate = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, in);
    dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
      kernels::softcap(from[0], n, cap, to);
    });
  };
  auto composed = [=](const Arrays& in) -> Arrays { return {composed::softcap(in[0], cap)}; };
  auto run = [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
    allocate(out[0]);
    const auto from = floats(stream, in);
    dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
      kernels::softcap_gradient(from[0], from[1], n, cap, to);
    });
  };
  auto gradient = [=](const Gradient& g) {
    return function_node("genkit::SoftcapGradient", {g.inputs[0], g.cotangents[0]}, {g.inputs[0].shape()},
                         {mx::float32}, {run, nullptr, nullptr});
  };
  return node("genkit::Softcap", {x}, {evaluate, composed, gradient});
}

}  // namespace genkit::ops

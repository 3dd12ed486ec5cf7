#include "genkit/ops/layers.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/layers.h"
#include "genkit/ops/composed.h"
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
mx::array node(const char* name, const Arrays& inputs, FunctionPrimitive::Evaluate evaluate,
               FunctionPrimitive::Composed composed) {
  Arrays wide;
  for (const auto& a : inputs) wide.push_back(a.dtype() == mx::int32 ? a : to_f32(a));
  const mx::array y(
      inputs[0].shape(), mx::float32,
      std::make_shared<FunctionPrimitive>(cpu_stream(), name, std::move(evaluate), std::move(composed)),
      std::move(wide));
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

std::optional<mx::array> input_if(bool there, const Arrays& inputs, size_t& next) {
  return there ? std::optional(inputs[next++]) : std::nullopt;
}

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

}  // namespace

mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps, float offset) {
  check_norm("rms_norm", x, weight);
  if (!on_cpu()) return composed::rms_norm(x, weight, eps, offset);
  Arrays inputs = {x};
  if (weight) inputs.push_back(*weight);
  return node(
      "genkit::RmsNorm", inputs,
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
        allocate(out[0]);
        const auto from = floats(stream, in);
        const Rows rows(in[0]);
        const kernels::NormParams params{from.size() > 1 ? from[1] : nullptr, nullptr, eps, offset};
        dispatch(stream, [=, to = out[0].data<float>()] {
          kernels::rms_norm(from[0], rows.count, rows.length, params, to);
        });
      },
      [=](const Arrays& in) -> Arrays {
        return {composed::rms_norm(in[0], in.size() > 1 ? std::optional(in[1]) : std::nullopt, eps, offset)};
      });
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
  Arrays out = on_cpu()
                   ? mx::array::make_arrays({y.shape(), y.shape()}, {mx::float32, mx::float32},
                                            std::make_shared<FunctionPrimitive>(
                                                cpu_stream(), "genkit::ResidualRmsNorm", evaluate, composed),
                                            inputs)
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
  return node(
      "genkit::LayerNorm", inputs,
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
        allocate(out[0]);
        const auto from = floats(stream, in);
        const Rows rows(in[0]);
        const kernels::NormParams params{has_weight ? from[1] : nullptr,
                                         has_bias ? from[1 + has_weight] : nullptr, eps, 0};
        dispatch(stream, [=, to = out[0].data<float>()] {
          kernels::layer_norm(from[0], rows.count, rows.length, params, to);
        });
      },
      [=](const Arrays& in) -> Arrays {
        size_t next = 1;
        const auto w = input_if(has_weight, in, next), b = input_if(has_bias, in, next);
        return {composed::layer_norm(in[0], w, b, eps)};
      });
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
  return node(
      "genkit::Rope", {x, params.inv_freq, positions},
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
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
      },
      [=](const Arrays& in) -> Arrays {
        RopeParams moved;
        moved.inv_freq = in[1];
        moved.attention_scaling = scaling;
        moved.interleaved = interleaved;
        return {composed::rope(in[0], in[2], moved)};
      });
}

mx::array activate(const mx::array& x, Activation activation) {
  if (activation == Activation::kIdentity) return x;
  if (!on_cpu()) return composed::activate(x, activation);
  return node(
      "genkit::Activate", {x},
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
        allocate(out[0]);
        const auto from = floats(stream, in);
        dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
          kernels::activate(kind_of(activation), from[0], nullptr, n, to);
        });
      },
      [=](const Arrays& in) -> Arrays { return {composed::activate(in[0], activation)}; });
}

mx::array gated_activation(const mx::array& gate, const mx::array& up, Activation activation) {
  if (gate.shape() != up.shape())
    throw ArgumentError(fmt::format("gated_activation: gate and up have different shapes, {} and {}",
                                    to_string(gate.shape()), to_string(up.shape())));
  auto composed = [=](const Arrays& in) -> Arrays {
    return {mx::multiply(composed::activate(in[0], activation), in[1])};
  };
  if (!on_cpu()) return composed({gate, up})[0];
  return node(
      "genkit::GatedActivation", {gate, up},
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
        allocate(out[0]);
        const auto from = floats(stream, in);
        dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
          kernels::activate(kind_of(activation), from[0], from[1], n, to);
        });
      },
      composed);
}

mx::array softcap(const mx::array& x, float cap) {
  if (!(cap > 0)) throw ArgumentError(fmt::format("softcap: expected a positive cap, got {}", cap));
  if (!on_cpu()) return composed::softcap(x, cap);
  return node(
      "genkit::Softcap", {x},
      [=](const mx::Stream& stream, const Arrays& in, Arrays& out) {
        allocate(out[0]);
        const auto from = floats(stream, in);
        dispatch(stream, [=, n = static_cast<int64_t>(in[0].size()), to = out[0].data<float>()] {
          kernels::softcap(from[0], n, cap, to);
        });
      },
      [=](const Arrays& in) -> Arrays { return {composed::softcap(in[0], cap)}; });
}

}  // namespace genkit::ops

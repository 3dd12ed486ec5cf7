#include "genkit/ops/linear.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/gradients.h"
#include "genkit/kernels/linear.h"
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

void check_experts(const int32_t* experts, int64_t count, int64_t stack, const std::string& name) {
  for (int64_t i = 0; i < count; ++i) {
    if (experts[i] < 0 || experts[i] >= stack)
      throw ArgumentError(fmt::format("{}: expert {} lies outside its {}", name, experts[i], stack));
  }
}

mx::array no_gradient(const std::string& what) { throw ArgumentError(what + ": has no gradient"); }

// dx = dy w. Inputs: dy, the weight's arrays.
mx::array input_gradient(const mx::array& dy, const WeightLayout& layout, std::vector<mx::array> weight) {
  auto evaluate = [layout](const mx::Stream& stream, const std::vector<mx::array>& in,
                           std::vector<mx::array>& out) {
    allocate(out[0]);
    dispatch(stream, [dy = row_major(stream, in[0]).data<float>(), rows = in[0].shape(0),
                      w = weight_rows(stream, layout, in, 1), n = layout.out,
                      dx = out[0].data<float>()] { kernels::linear_input_gradient(dy, rows, w, n, dx); });
  };
  weight.insert(weight.begin(), dy);
  return function_node("genkit::LinearInputGradient", std::move(weight),
                       {mx::Shape{dy.shape(0), static_cast<int>(layout.in)}}, {mx::float32},
                       {evaluate, nullptr, nullptr})[0];
}

// dw = dy^T x.
mx::array weight_gradient(const mx::array& x, const mx::array& dy) {
  auto evaluate = [](const mx::Stream& stream, const std::vector<mx::array>& in,
                     std::vector<mx::array>& out) {
    allocate(out[0]);
    dispatch(stream,
             [x = row_major(stream, in[0]).data<float>(), dy = row_major(stream, in[1]).data<float>(),
              rows = in[0].shape(0), inner = in[0].shape(1), outer = in[1].shape(1),
              dw = out[0].data<float>()] { kernels::linear_weight_gradient(x, dy, rows, inner, outer, dw); });
  };
  return function_node("genkit::LinearWeightGradient", {x, dy}, {mx::Shape{dy.shape(1), x.shape(1)}},
                       {mx::float32}, {evaluate, nullptr, nullptr})[0];
}

mx::array bias_gradient(const mx::array& dy) {
  auto evaluate = [](const mx::Stream& stream, const std::vector<mx::array>& in,
                     std::vector<mx::array>& out) {
    allocate(out[0]);
    dispatch(stream, [dy = row_major(stream, in[0]).data<float>(), rows = in[0].shape(0), n = in[0].shape(1),
                      to = out[0].data<float>()] { kernels::column_sums(dy, rows, n, to); });
  };
  return function_node("genkit::BiasGradient", {dy}, {mx::Shape{dy.shape(1)}}, {mx::float32},
                       {evaluate, nullptr, nullptr})[0];
}

// Inputs: x, experts, the weight's arrays, and the bias if there is one.
class ExpertLinear : public CpuPrimitive {
 public:
  ExpertLinear(mx::Stream stream, WeightLayout layout, int experts, bool has_bias, std::string weight)
      : CpuPrimitive(stream),
        layout_(layout),
        experts_(experts),
        has_bias_(has_bias),
        weight_(std::move(weight)) {}
  const char* name() const override { return "genkit::ExpertLinear"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    allocate(outputs[0]);
    kernels::ExpertTask task = expert_task(stream(), layout_, experts_, inputs);
    if (has_bias_) task.bias = row_major(stream(), inputs.back()).data<float>();
    task.y = outputs[0].data<float>();
    task.product = product_of(layout_.format, layout_.arithmetic);
    task.cache = layout_.panels.get();
    dispatch(stream(), [task, name = weight_, panels = layout_.panels] {
      check_experts(task.experts, task.tokens * task.choices, task.num_experts, name);
      kernels::expert_linear(task);
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>&) override {
    const bool dense = !is_quantized(layout_.format);
    std::vector<mx::array> inputs = primals;
    inputs.push_back(cotangents[0]);
    const mx::Shape all = {experts_, static_cast<int>(layout_.out), static_cast<int>(layout_.in)};
    std::vector<mx::Shape> shapes = {primals[0].shape()};
    if (dense) shapes.push_back(all);
    if (has_bias_) shapes.push_back({all[0], all[1]});
    auto evaluate = [layout = layout_, experts = experts_, dense, has_bias = has_bias_](
                        const mx::Stream& stream, const std::vector<mx::array>& in,
                        std::vector<mx::array>& out) {
      for (auto& a : out) allocate(a);
      kernels::ExpertTask task = expert_task(stream, layout, experts, in);
      // Not written through: the kernel takes it as what comes back.
      task.y = const_cast<float*>(row_major(stream, in.back()).data<float>());
      float* dw = dense ? out[1].data<float>() : nullptr;
      float* dbias = has_bias ? out[1 + dense].data<float>() : nullptr;
      dispatch(stream, [task, dx = out[0].data<float>(), dw, dbias] {
        kernels::expert_linear_gradient(task, dx, dw, dbias);
      });
    };
    const auto found =
        function_node("genkit::ExpertLinearGradient", inputs, shapes,
                      std::vector<mx::Dtype>(shapes.size(), mx::float32), {evaluate, nullptr, nullptr});
    std::vector<mx::array> some;
    for (const int i : argnums) {
      if (i == 0)
        some.push_back(found[0]);
      else if (i == 1)
        some.push_back(mx::zeros_like(primals[1]));  // a choice does not slide
      else if (i == 2 && dense)
        some.push_back(mx::astype(found[1], primals[2].dtype()));
      else if (has_bias_ && i + 1 == static_cast<int>(primals.size()))
        some.push_back(found.back());
      else
        some.push_back(no_gradient(weight_));
    }
    return some;
  }

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override {
    const mx::Shape shape = {experts_, static_cast<int>(layout_.out), static_cast<int>(layout_.in)};
    const auto w = composed::dequantize(weight_of(layout_, inputs, 2, shape));
    return {composed::expert_linear(inputs[0], inputs[1], w,
                                    has_bias_ ? std::optional(inputs.back()) : std::nullopt)};
  }

 private:
  // All but what is added and written.
  static kernels::ExpertTask expert_task(const mx::Stream& stream, const WeightLayout& layout, int experts,
                                         const std::vector<mx::array>& inputs) {
    kernels::ExpertTask task;
    task.x = row_major(stream, inputs[0]).data<float>();
    task.row_a_choice = inputs[0].ndim() == 3;
    task.tokens = inputs[1].shape(0);
    task.choices = inputs[1].shape(1);
    task.experts = row_major(stream, inputs[1]).data<int32_t>();
    task.weight = weight_rows(stream, layout, inputs, 2);
    task.num_experts = experts;
    task.out = layout.out;
    return task;
  }

  WeightLayout layout_;
  int experts_;
  bool has_bias_;
  std::string weight_;
};

// Inputs: x, then each weight's arrays, then the biases that there are.
class Linear : public CpuPrimitive {
 public:
  struct Part {
    WeightLayout layout;
    bool has_bias = false;
  };
  Linear(mx::Stream stream, std::vector<Part> parts) : CpuPrimitive(stream), parts_(std::move(parts)) {}
  const char* name() const override { return "genkit::Linear"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto x = row_major(stream(), inputs[0]);
    std::vector<kernels::LinearTarget> targets;
    std::vector<std::shared_ptr<kernels::PanelCache>> panels;  // until the products are done
    int weight = 1, bias = first_bias();
    for (size_t i = 0; i < parts_.size(); ++i) {
      const WeightLayout& layout = parts_[i].layout;
      allocate(outputs[i]);
      kernels::LinearTarget t;
      t.weight = weight_rows(stream(), layout, inputs, weight);
      t.out = layout.out;
      t.bias = parts_[i].has_bias ? row_major(stream(), inputs[bias++]).data<float>() : nullptr;
      t.y = outputs[i].data<float>();
      t.product = product_of(layout.format, layout.arithmetic);
      t.cache = panels.emplace_back(layout.panels).get();
      targets.push_back(t);
      weight += layout.num_inputs();
    }
    dispatch(stream(), [x = x.data<float>(), rows = x.shape(0), in = x.shape(1), targets = std::move(targets),
                        panels = std::move(panels)] { kernels::linear(x, rows, in, targets); });
  }

  // Only what is asked for is built: a frozen weight costs nothing on the way back.
  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>&) override {
    std::vector<mx::array> some;
    for (const int i : argnums) some.push_back(gradient_of(i, primals, cotangents));
    return some;
  }

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override {
    std::vector<mx::array> out;
    int weight = 1, bias = first_bias();
    for (const Part& part : parts_) {
      const mx::Shape shape = {static_cast<int>(part.layout.out), static_cast<int>(part.layout.in)};
      const auto w = composed::dequantize(weight_of(part.layout, inputs, weight, shape));
      out.push_back(
          composed::linear(inputs[0], w, part.has_bias ? std::optional(inputs[bias++]) : std::nullopt));
      weight += part.layout.num_inputs();
    }
    return out;
  }

 private:
  mx::array gradient_of(int input, const std::vector<mx::array>& primals,
                        const std::vector<mx::array>& cotangents) const {
    std::optional<mx::array> dx;
    int weight = 1, bias = first_bias();
    for (size_t i = 0; i < parts_.size(); ++i) {
      const WeightLayout& layout = parts_[i].layout;
      const auto begin = primals.begin() + weight;
      if (input == 0) {
        const mx::array one = input_gradient(cotangents[i], layout, {begin, begin + layout.num_inputs()});
        dx = dx ? mx::add(*dx, one) : one;
      }
      if (input == weight && !is_quantized(layout.format))
        return mx::astype(weight_gradient(primals[0], cotangents[i]), primals[input].dtype());
      if (parts_[i].has_bias && input == bias++) return bias_gradient(cotangents[i]);
      weight += layout.num_inputs();
    }
    return dx ? *dx : no_gradient("linear: a quantised weight");
  }

  int first_bias() const {
    int inputs = 1;
    for (const Part& part : parts_) inputs += part.layout.num_inputs();
    return inputs;
  }
  std::vector<Part> parts_;
};

}  // namespace

std::vector<mx::array> linear_many(const mx::array& x, const std::vector<const Weight*>& weights,
                                   const std::vector<std::optional<mx::array>>& biases) {
  if (!biases.empty() && biases.size() != weights.size())
    throw ArgumentError(fmt::format("linear_many: {} weights and {} biases", weights.size(), biases.size()));
  auto bias_of = [&](size_t i) { return biases.empty() ? std::nullopt : biases[i]; };
  std::vector<mx::array> outputs;
  for (size_t i = 0; i < weights.size(); ++i) check_linear(x, *weights[i], bias_of(i));
  if (!on_cpu()) {
    for (size_t i = 0; i < weights.size(); ++i)
      outputs.push_back(composed::linear(x, composed::dequantize(*weights[i]), bias_of(i)));
    return outputs;
  }
  std::vector<mx::array> inputs = {to_f32(x)};
  std::vector<Linear::Part> parts;
  std::vector<mx::Shape> shapes;
  for (size_t i = 0; i < weights.size(); ++i) {
    for (auto& a : weight_inputs(*weights[i])) inputs.push_back(a);
    parts.push_back({weight_layout(*weights[i]), bias_of(i).has_value()});
    shapes.push_back({x.shape(0), weights[i]->shape[0]});
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (const auto bias = bias_of(i)) inputs.push_back(to_f32(*bias));
  }
  auto primitive = std::make_shared<Linear>(cpu_stream(), std::move(parts));
  outputs = mx::array::make_arrays(std::move(shapes), std::vector<mx::Dtype>(weights.size(), mx::float32),
                                   primitive, std::move(inputs));
  if (x.dtype() != mx::float32) {
    for (auto& y : outputs) y = mx::astype(y, x.dtype());
  }
  return outputs;
}

mx::array linear(const mx::array& x, const Weight& w, const std::optional<mx::array>& bias) {
  return linear_many(x, {&w}, {bias})[0];
}

mx::array expert_linear(const mx::array& x, const mx::array& experts, const Weight& w,
                        const std::optional<mx::array>& bias) {
  check_expert_linear(x, experts, w, bias);
  if (!on_cpu()) return composed::expert_linear(x, experts, composed::dequantize(w), bias);
  std::vector<mx::array> inputs = {to_f32(x), experts};
  for (auto& a : weight_inputs(w)) inputs.push_back(a);
  if (bias) inputs.push_back(to_f32(*bias));
  return mx::array(
      {experts.shape(0), experts.shape(1), w.shape[1]}, mx::float32,
      std::make_shared<ExpertLinear>(cpu_stream(), weight_layout(w), w.shape[0], bias.has_value(), label(w)),
      std::move(inputs));
}

}  // namespace genkit::ops

#include <fmt/format.h>
#include <mlx/ops.h>

#include <cstring>

#include "genkit/base/error.h"
#include "genkit/kernels/gradients.h"
#include "genkit/kernels/linear.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/linear.h"
#include "genkit/ops/weight_view.h"

namespace genkit::ops {
namespace {

void check_ids(const int32_t* ids, int64_t count, int64_t rows, const std::string& name) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= rows)
      throw ArgumentError(fmt::format("{}: id {} lies outside its {} rows", name, ids[i], rows));
  }
}

// Rows of a weight, unpacked. Inputs: ids, then the weight's.
class Embedding : public CpuPrimitive {
 public:
  Embedding(mx::Stream stream, WeightLayout layout, std::string weight)
      : CpuPrimitive(stream), layout_(layout), weight_(std::move(weight)) {}
  const char* name() const override { return "genkit::Embedding"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& out = outputs[0];
    allocate(out);
    const auto ids = row_major(stream(), inputs[0]);
    const auto rows = weight_rows(stream(), layout_, inputs, 1);
    dispatch(stream(), [rows, out_rows = layout_.out, ids = ids.data<int32_t>(),
                        count = static_cast<int64_t>(ids.size()), name = weight_, to = out.data<float>()] {
      check_ids(ids, count, out_rows, name);
      kernels::take_rows(rows, ids, count, to);
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>&) override {
    for (const int i : argnums) {
      if (i != 1 || is_quantized(layout_.format)) throw ArgumentError(weight_ + ": has no gradient");
    }
    auto evaluate = [layout = layout_](const mx::Stream& stream, const std::vector<mx::array>& in,
                                       std::vector<mx::array>& out) {
      allocate(out[0]);
      dispatch(stream,
               [ids = row_major(stream, in[0]).data<int32_t>(), dy = row_major(stream, in[1]).data<float>(),
                tokens = in[0].shape(0), layout, to = out[0].data<float>()] {
                 kernels::embedding_gradient(ids, dy, tokens, layout.out, layout.in, to);
               });
    };
    const mx::array dw =
        function_node("genkit::EmbeddingGradient", {primals[0], cotangents[0]},
                      {mx::Shape{static_cast<int>(layout_.out), static_cast<int>(layout_.in)}}, {mx::float32},
                      {evaluate, nullptr, nullptr})[0];
    return {mx::astype(dw, primals[1].dtype())};
  }

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override {
    const mx::Shape shape = {static_cast<int>(layout_.out), static_cast<int>(layout_.in)};
    return {composed::embedding(inputs[0], weight_of(layout_, inputs, 1, shape))};
  }

 private:
  WeightLayout layout_;
  std::string weight_;
};

}  // namespace

namespace composed {

mx::array embedding(const mx::array& ids, const Weight& w) {
  Weight rows = w;
  rows.shape[0] = ids.shape(0);
  rows.data = mx::take(w.data, ids, 0);
  if (w.scales) rows.scales = mx::take(*w.scales, ids, 0);
  if (w.biases) rows.biases = mx::take(*w.biases, ids, 0);
  return composed::dequantize(rows);
}

}  // namespace composed

mx::array embedding(const mx::array& ids, const Weight& w) {
  check_weight(w);
  const std::string name = w.name.empty() ? "weight" : w.name;
  if (w.shape.size() != 2)
    throw ArgumentError(fmt::format("{}: expected a matrix, got shape {}", name, to_string(w.shape)));
  if (ids.ndim() != 1 || ids.dtype() != mx::int32)
    throw ArgumentError(
        fmt::format("{}: expected ids [tokens] of dtype int32, got shape {}", name, to_string(ids.shape())));
  // Ids at hand are checked here, where the exception keeps its type; MLX turns one that is thrown
  // while evaluating into a plain runtime_error with the same words.
  if (ids.is_available() && ids.flags().row_contiguous)
    check_ids(ids.data<int32_t>(), static_cast<int64_t>(ids.size()), w.shape[0], name);
  if (!on_cpu()) return composed::embedding(ids, w);
  auto inputs = weight_inputs(w);
  inputs.insert(inputs.begin(), ids);
  return mx::array({ids.shape(0), w.shape[1]}, mx::float32,
                   std::make_shared<Embedding>(cpu_stream(), weight_layout(w), name), std::move(inputs));
}

}  // namespace genkit::ops

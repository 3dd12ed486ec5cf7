#include "genkit/ops/weight.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/linear.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"
#include "genkit/ops/weight_view.h"

namespace genkit::ops {
namespace {

// Rows of a quantised weight to fp32. Inputs: data, and for affine weights scales and biases.
class Dequantize : public CpuPrimitive {
 public:
  Dequantize(mx::Stream stream, WeightLayout layout) : CpuPrimitive(stream), layout_(layout) {}
  const char* name() const override { return "genkit::Dequantize"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& out = outputs[0];
    allocate(out);
    const kernels::WeightRows rows = weight_rows(stream(), layout_, inputs, 0);
    const int64_t count = layout_.in ? static_cast<int64_t>(out.size()) / layout_.in : 0;
    dispatch(stream(),
             [rows, count, to = out.data<float>()] { kernels::take_rows(rows, nullptr, count, to); });
  }

 private:
  WeightLayout layout_;
};

}  // namespace

namespace composed {

mx::array dequantize(const Weight& w) {
  if (!is_quantized(w.format)) return mx::astype(w.data, mx::float32);
  // The blocks of GGUF files have no counterpart in MLX: they are unpacked on the CPU everywhere.
  const auto layout = weight_layout(w);
  return mx::array(w.shape, mx::float32, std::make_shared<Dequantize>(cpu_stream(), layout),
                   weight_inputs(w));
}

}  // namespace composed

mx::array dequantize(const Weight& w) {
  check_weight(w);
  return composed::dequantize(w);
}

}  // namespace genkit::ops

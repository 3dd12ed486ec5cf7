#include "genkit/ops/weight.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/kernels/dequantize.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"
#include "genkit/ops/weight_view.h"

namespace genkit::ops {
namespace {

// Rows of a quantised weight to fp32. Inputs: data, and for affine weights scales and biases.
class Dequantize : public CpuPrimitive {
 public:
  Dequantize(mx::Stream stream, WeightLayout layout) : CpuPrimitive(stream, nullptr), layout_(layout) {}
  const char* name() const override { return "genkit::Dequantize"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& out = outputs[0];
    allocate(out);
    const WeightView view = make_view(stream(), layout_, inputs, 0);
    const int64_t rows = layout_.in ? static_cast<int64_t>(out.size()) / layout_.in : 0;
    dispatch(stream(), [view, rows, in = layout_.in, to = out.data<float>()] {
      for (int64_t r = 0; r < rows; ++r) dequantize_view_row(view, r, to + r * in);
    });
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

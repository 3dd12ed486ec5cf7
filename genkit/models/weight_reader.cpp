#include "genkit/models/weight_reader.h"

#include "genkit/kernels/panels.h"

namespace genkit::models {

ops::Weight WeightReader::for_products(ops::Weight w) const {
  w.arithmetic = options_.arithmetic;
  if (options_.repack && w.arithmetic != ops::Arithmetic::kExact && is_quantized(w.format))
    w.panels = std::make_shared<kernels::PanelCache>();
  return w;
}

ops::Weight WeightReader::matrix(const std::string& name, int out, int in) const {
  return for_products(checkpoint_->take(prefix_ + name, {out, in}));
}

mx::array WeightReader::vector(const std::string& name, int size) const {
  return checkpoint_->take_dense(prefix_ + name, {size});
}

nn::Linear WeightReader::linear(const std::string& name, int out, int in, bool bias) const {
  nn::Linear linear{matrix(name + ".weight", out, in), std::nullopt};
  if (bias) linear.bias = vector(name + ".bias", out);
  return linear;
}

ops::Weight WeightReader::experts(const std::string& pattern, int count, int out, int in) const {
  return for_products(checkpoint_->take_experts(prefix_ + pattern, {count, out, in}));
}

nn::Norm WeightReader::rms_norm(const std::string& name, int size, double eps, float offset) const {
  return {nn::Norm::Kind::kRms, vector(name + ".weight", size), std::nullopt, static_cast<float>(eps),
          offset};
}

nn::Norm WeightReader::layer_norm(const std::string& name, int size, double eps, bool bias) const {
  nn::Norm norm{nn::Norm::Kind::kLayer, vector(name + ".weight", size), std::nullopt, static_cast<float>(eps),
                0.0f};
  if (bias) norm.bias = vector(name + ".bias", size);
  return norm;
}

}  // namespace genkit::models

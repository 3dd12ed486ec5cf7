#include "genkit/nn/linear.h"

#include <mlx/ops.h>

#include "genkit/kernels/panels.h"

namespace genkit::nn {
namespace {

// Rows [begin, end) of an array. Its numbers are at hand whenever the array's are.
mx::array rows(const mx::array& a, int begin, int end) {
  mx::Shape from(a.ndim(), 0), to = a.shape();
  from[0] = begin;
  to[0] = end;
  mx::array part = mx::slice(a, from, to);
  if (a.is_available() && !a.is_tracer()) part.eval();
  return part;
}

}  // namespace

Linear Linear::outputs(int begin, int end) const {
  Linear part = *this;
  part.weight.shape[0] = end - begin;
  part.weight.data = rows(weight.data, begin, end);
  if (weight.scales) part.weight.scales = rows(*weight.scales, begin, end);
  if (weight.biases) part.weight.biases = rows(*weight.biases, begin, end);
  if (weight.panels) part.weight.panels = std::make_shared<kernels::PanelCache>();
  if (bias) part.bias = rows(*bias, begin, end);
  return part;
}

}  // namespace genkit::nn

#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <vector>

#include "genkit/kernels/linear.h"
#include "genkit/ops/primitive.h"
#include "genkit/ops/weight.h"

// How a Weight travels through the graph: as input arrays plus a layout, and as raw pointers once
// its node is evaluated. Not part of the library's interface.

namespace genkit::ops {

/// What a kernel must know of a weight besides its pointers.
struct WeightLayout {
  WeightFormat format = WeightFormat::kF32;
  WeightFormat scale_format = WeightFormat::kF32;  ///< kAffine
  int bits = 0;                                    ///< kAffine
  int group_size = 0;                              ///< kAffine
  int64_t in = 0;                                  ///< numbers of a row
  int64_t out = 0;                                 ///< rows of a matrix
  size_t row_bytes = 0;                            ///< of `data`
  Arithmetic arithmetic = Arithmetic::kFast;
  std::shared_ptr<kernels::PanelCache> panels;

  int num_inputs() const { return format == WeightFormat::kAffine ? 3 : 1; }
};

/// The kernels' name for what an arithmetic means for a format.
kernels::Product product_of(WeightFormat format, Arithmetic arithmetic);

/// @throws ArgumentError naming the weight when data, scales and shape do not belong together.
void check_weight(const Weight& w);
WeightLayout weight_layout(const Weight& w);
/// The arrays that carry the weight's numbers, in the order that make_view expects.
std::vector<mx::array> weight_inputs(const Weight& w);
/// The weight that has `layout` and whose arrays are inputs[first..]. @param shape its logical shape.
Weight weight_of(const WeightLayout& layout, const std::vector<mx::array>& inputs, int first,
                 mx::Shape shape);
/// Pointers to inputs[first..], made row-major if they are not.
kernels::WeightRows weight_rows(const mx::Stream& stream, const WeightLayout& layout,
                                const std::vector<mx::array>& inputs, int first);

}  // namespace genkit::ops

#pragma once

#include <mlx/array.h>

#include <memory>
#include <optional>
#include <string>

#include "genkit/kernels/weight_format.h"

namespace genkit::kernels {
class PanelCache;
}

namespace genkit::ops {

namespace mx = mlx::core;

/// How products with quantised weights are computed.
enum class Arithmetic : uint8_t {
  kFast,   ///< kInt8, or bfloat16 for formats and processors that it suits
  kInt8,   ///< activations rounded to int8 in groups, integer products, fp32 sums
  kExact,  ///< fp32 arithmetic over the dequantised weights
};

/// What products with quantised weights are on this machine: "fp32", "int8" or "bf16".
std::string name_of(Arithmetic arithmetic);

/// A weight of a model, in the format its file has: a matrix [out, in], a vector [n], or a stack
/// of expert matrices [experts, out, in]. Immutable and cheap to copy; `data` may point into a
/// memory-mapped file, which it keeps mapped.
struct Weight {
  std::string name;  ///< the internal (Hugging Face) name, for messages
  WeightFormat format = WeightFormat::kF32;
  mx::Shape shape;                   ///< logical shape, in numbers
  mx::array data = mx::array(0.0f);  ///< dense: `shape`, typed; blocks: uint8 [..., bytes of a row];
                                     ///< kAffine: uint32 [..., in * bits / 32]
  std::optional<mx::array> scales;   ///< kAffine: [..., in / group_size]
  std::optional<mx::array> biases;   ///< kAffine: the same shape
  int bits = 0;                      ///< kAffine: 2, 3, 4, 5, 6 or 8
  int group_size = 0;                ///< kAffine: 32, 64 or 128
  Arithmetic arithmetic = Arithmetic::kFast;
  /// Where products keep `data` turned for their kernels (kernels/panels.h); null: they read it as it lies.
  /// A weight whose numbers change takes a new one.
  std::shared_ptr<kernels::PanelCache> panels;
};

/// The numbers of a weight in fp32. @return [shape] float32.
mx::array dequantize(const Weight& w);

}  // namespace genkit::ops

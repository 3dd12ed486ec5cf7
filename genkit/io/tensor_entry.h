#pragma once

#include <mlx/array.h>

#include <functional>
#include <map>
#include <string>

#include "genkit/ops/weight.h"

namespace genkit::io {

/// A tensor of a checkpoint that has not been loaded yet.
struct TensorEntry {
  std::string origin;      ///< where it lies, for messages: "m.gguf: blk.0.attn_q.weight"
  mlx::core::Shape shape;  ///< in numbers
  /// Makes the weight; only its name is left to the caller.
  std::function<ops::Weight()> load;
};

/// By the name that models ask for.
using TensorMap = std::map<std::string, TensorEntry>;

}  // namespace genkit::io

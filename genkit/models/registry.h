#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "genkit/io/checkpoint.h"
#include "genkit/models/model.h"

namespace genkit::models {

struct LoadOptions {
  ops::Arithmetic arithmetic =
      ops::Arithmetic::kFast;  ///< of products with quantised weights; a head's kFast is kInt8
  /// Turns quantised weights for their kernels at their first product, where that is faster
  /// (kernels/panels.h): they then lie in memory of the process and no longer in pages of the file, as large
  /// as before.
  bool repack = true;
};

/// Builds the model that a checkpoint's configuration describes, of any supported family. Weights
/// stay where they are (memory-mapped) unless their format needs a copy, or until they are repacked.
/// @throws FormatError naming file and field or tensor: an unknown model_type, a bad configuration,
///         a tensor that is missing or has another shape than the configuration says.
std::unique_ptr<Model> load_model(io::Checkpoint& checkpoint, const LoadOptions& options = {});

}  // namespace genkit::models

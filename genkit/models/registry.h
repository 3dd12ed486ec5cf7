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
};

/// Builds the model that a checkpoint's configuration describes, of any supported family. Weights
/// stay where they are (memory-mapped) unless their format needs a copy.
/// @throws FormatError naming file and field or tensor: an unknown model_type, a bad configuration,
///         a tensor that is missing or has another shape than the configuration says.
std::unique_ptr<Model> load_model(io::Checkpoint& checkpoint, const LoadOptions& options = {});

}  // namespace genkit::models

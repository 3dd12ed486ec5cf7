#pragma once

#include "genkit/base/json_reader.h"
#include "genkit/config/model_config.h"

namespace genkit::config {

/// Works out, layer by layer, which have a sliding window and which use rope, from `layer_types` or
/// from the rule that the family had before there were `layer_types`.
/// @throws FormatError naming file and field.
void resolve_layers(const JsonView& json, ModelConfig& config);

}  // namespace genkit::config

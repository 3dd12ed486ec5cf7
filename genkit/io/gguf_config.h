#pragma once

#include <nlohmann/json.hpp>

#include "genkit/io/gguf_names.h"
#include "genkit/io/gguf_set.h"

namespace genkit::io {

/// The config.json that transformers would have written for this model, as its version 4 spells it.
/// Numbers that GGUF keeps in fp32 come out as the shortest decimal that stands for them, so that
/// 1e-6 is 1e-6 again. What GGUF does not say follows llama.cpp's defaults for the architecture.
/// @throws FormatError naming the key: missing, of a wrong type, contradictory, or one that changes
///         the mathematics and is not understood.
nlohmann::json gguf_config(const GgufSet& set, const GgufFamily& family);

/// generation_config.json of the same model: the special tokens, and sampling values where the file
/// recommends some. Null when it says nothing.
nlohmann::json gguf_generation_config(const GgufFile& file);

}  // namespace genkit::io

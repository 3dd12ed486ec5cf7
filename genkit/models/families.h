#pragma once

#include <memory>

#include "genkit/models/decoder.h"

namespace genkit::models {

/// Builds a model of one family from its configuration and weights: one function a file, called
/// through the table in registry.cpp.
using MakeModel = std::unique_ptr<Model>(config::ModelConfig, io::Checkpoint&, const LoadOptions&);

MakeModel make_cohere, make_gemma, make_gemma2, make_gemma3, make_glm4, make_gpt2, make_gpt_neox,
    make_granite, make_llama, make_mixtral, make_olmo2, make_phi3, make_qwen2, make_qwen3, make_smollm3,
    make_stablelm, make_starcoder2;

}  // namespace genkit::models

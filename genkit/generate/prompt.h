#pragma once

#include <cstdint>
#include <vector>

#include "genkit/generate/generate.h"

namespace genkit::generate {

/// A prompt that is fit to run.
struct PreparedPrompt {
  std::vector<int32_t> ids;     ///< as given, padding included: what processors see
  std::vector<int32_t> tokens;  ///< what the model sees: without padding, with placeholders in front
  int padding = 0;              ///< leading positions of `ids` that are padding
  int max_length = 0;           ///< of ids and new tokens together
};

/// Checks a prompt against the model and its options, takes out its padding and resolves the length.
/// @param name "prompt 3", for messages.
/// @param virtual_tokens placeholders that hooks want in front (@see models::ForwardHook::prefix_tokens):
///        they take positions of the model, and nothing else counts them.
/// @throws ArgumentError naming the prompt and the position, or the option.
/// @source transformers 5.23 _prepare_attention_mask_for_generation, _prepare_generated_length.
PreparedPrompt prepare_prompt(const Prompt& prompt, const EffectiveConfig& config, const models::Model& model,
                              const std::string& name, int virtual_tokens = 0);

}  // namespace genkit::generate

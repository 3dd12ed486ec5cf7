#pragma once

#include <cstdint>
#include <vector>

#include "genkit/text/chat_template.h"
#include "genkit/text/tokenizer.h"

namespace genkit::text {

/// Marks the tokens of a rendered chat that {% generation %} blocks produced.
/// @return [tokens of the text, no special ones added], 1 inside a block, else 0. A token that
///         lies partly inside counts.
/// @source transformers 5.23 apply_chat_template(return_assistant_tokens_mask=True).
std::vector<int32_t> assistant_mask(const Tokenizer& tokenizer, const RenderedChat& chat);

}  // namespace genkit::text

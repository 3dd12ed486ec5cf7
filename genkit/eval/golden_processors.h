#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "genkit/logits/processor.h"

namespace genkit::eval {

/// The processor of one row of a case of processors.json, or null for a name that is unknown here.
/// @param test_case "processor", "params" and what else that processor needs.
/// @param row       whose padding and prompt it takes, where a case has several.
/// @throws FormatError naming the field that is missing or wrong.
logits::ProcessorPtr golden_processor(const nlohmann::json& test_case, size_t row, int vocab_size);

}  // namespace genkit::eval

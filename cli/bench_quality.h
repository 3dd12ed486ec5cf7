#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/model_files.h"

namespace genkit::cli {

/// How far the default arithmetic is from the exact one: both run over every text, and the
/// distributions of each next token are compared.
/// @param files one text each; empty: two short texts, those of the recorded perplexities.
/// @return {"texts": [{"text", "tokens", "mean_kl", "max_kl", "same_best", "perplexity",
///         "perplexity_exact"}]}; kl in nats, of the exact distribution from the default one;
///         same_best a share of the positions.
/// @throws Error naming a file that cannot be read or has less than two tokens.
nlohmann::ordered_json measure_quality(LoadRequest load, const std::vector<std::string>& files);

}  // namespace genkit::cli

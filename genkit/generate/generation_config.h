#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace genkit::generate {

/// Options of a generation, under transformers' names. A field left empty takes the model's
/// generation_config.json, then the library's default. Rows of a batch may have their own.
/// Every option has a row in the field table (generation_fields.cpp), which parsing, printing,
/// help and validation read.
struct GenerationConfig {
  std::optional<int> max_new_tokens;  ///< default: 20, as transformers; the CLI says 256
  std::optional<int> max_length;      ///< prompt included; max_new_tokens beats it
  std::optional<bool> do_sample;      ///< default false
  std::optional<float> temperature;   ///< > 0; 1 disables
  std::optional<int> top_k;           ///< >= 0; 0 disables; 50 when sampling, as transformers
  std::optional<float> top_p;         ///< (0, 1]; 1 disables
  std::optional<float> min_p;         ///< [0, 1]; 0 disables
  std::optional<uint64_t> seed;
  std::optional<std::vector<int32_t>> eos_token_id;  ///< any of them ends a row
  std::optional<int32_t> pad_token_id;
  std::optional<int32_t> bos_token_id;
  std::optional<std::vector<std::string>> stop_strings;
  std::optional<int> top_logprobs;    ///< log-probabilities of the n best tokens of each step
};

}  // namespace genkit::generate

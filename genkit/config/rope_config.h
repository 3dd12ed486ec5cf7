#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "genkit/base/json_reader.h"

namespace genkit::config {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };

/// Rotary embedding of one kind of layer, after reading either form that transformers writes
/// (`rope_theta` + `rope_scaling`, or `rope_parameters`).
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double partial_rotary_factor = 1.0;
  int dims = 0;                              ///< numbers of a head that are rotated
  int max_position_embeddings = 0;           ///< of the model: where dynamic rope begins to stretch
  int original_max_position_embeddings = 0;  ///< llama3, yarn, longrope
  // llama3
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  // yarn
  double beta_fast = 32.0, beta_slow = 1.0;
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  bool truncate = true;
  // longrope
  std::vector<double> short_factor, long_factor;
};

/// What a family has by default and under which names.
struct RopeDefaults {
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  bool partial_allowed = false;       ///< families that rotate only a part of each head
  bool always_longrope = false;       ///< phi3: "su" and "yarn" mean longrope, no other type exists
  const char* theta_key = nullptr;    ///< asked before "rope_theta" (gpt_neox: "rotary_emb_base")
  const char* partial_key = nullptr;  ///< asked before "partial_rotary_factor" (gpt_neox: "rotary_pct")
  bool per_layer_kind = false;        ///< gemma3: sliding layers have parameters of their own
};

struct RopePair {
  RopeConfig full;
  RopeConfig sliding;
};

/// Reads the rotary embedding from a configuration in either form.
/// @param config the whole configuration; @param head_dim numbers of a head;
/// @param max_position_embeddings of the model.
/// @throws FormatError naming file and field.
/// @source transformers 5.23 RotaryEmbeddingConfigMixin.convert_rope_params_to_dict.
RopePair read_rope(const JsonView& config, const RopeDefaults& defaults, int head_dim,
                   int max_position_embeddings);

}  // namespace genkit::config

#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace genkit::config {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };

/// Rotary embedding of one kind of layer, after reading either form that transformers writes
/// (`rope_theta` + `rope_scaling`, or `rope_parameters`).
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double partial_rotary_factor = 1.0;
  int original_max_position_embeddings = 0;  ///< 0: max_position_embeddings
  // llama3
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  // yarn
  double beta_fast = 32.0, beta_slow = 1.0;
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  bool truncate = true;
  // longrope
  std::vector<double> short_factor, long_factor;
};

enum class LayerKind : uint8_t { kFull, kSliding };

/// What a config.json says, whatever family it is. Every field has a row in the field table
/// (model_fields.cpp): its JSON keys, its default, the families that have it. A key that no row
/// knows and that may change the mathematics is an error.
struct ModelConfig {
  std::string model_type;
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  int max_position_embeddings = 0;
  std::string hidden_act;
  double norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::vector<LayerKind> layer_kinds;  ///< one a layer
  int sliding_window = 0;              ///< of the layers of kind kSliding
  RopeConfig rope;                     ///< of full layers
  RopeConfig rope_local;               ///< of sliding layers; equal to `rope` in most families
  std::vector<int32_t> eos_token_id;
  std::optional<int32_t> bos_token_id, pad_token_id;
  std::string dtype;                   ///< as the file says: "bfloat16"
  nlohmann::json raw;                  ///< the file, for messages and conversion

  /// Reads a config.json. @param file its name, for messages.
  /// @throws FormatError naming file and field: missing, of the wrong type, out of range, or
  ///         present and not understood; for an unknown model_type, listing the supported ones.
  static ModelConfig from_json(const nlohmann::json& json, const std::string& file = "config.json");
};

}  // namespace genkit::config

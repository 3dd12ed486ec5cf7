#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/config/rope_config.h"

namespace genkit::config {

/// An architecture that genkit/models/ has a file for. Several model types may share one.
enum class Family : uint8_t {
  kLlama,
  kMistral,
  kMixtral,
  kQwen2,
  kQwen3,
  kQwen3Moe,
  kGemma,
  kGemma2,
  kGemma3,
  kPhi3,
  kOlmo2,
  kGranite,
  kSmolLm3,
  kGpt2,
  kGptNeox,
  kStableLm,
  kCohere,
  kStarcoder2,
  kGlm4,
};

enum class LayerKind : uint8_t { kFull, kSliding };

/// Mixture-of-experts blocks; num_experts is 0 where a family has none.
struct MoeConfig {
  int num_experts = 0;
  int num_experts_per_tok = 0;
  int moe_intermediate_size = 0;  ///< of one expert
  bool norm_topk_prob = true;     ///< the chosen experts' weights are made to add up to 1
  int decoder_sparse_step = 1;
  std::vector<int> mlp_only_layers;
};

/// Factors that some families put into the stream. All neutral by default.
struct ScaleConfig {
  double embedding_multiplier = 1.0;              ///< granite
  double residual_multiplier = 1.0;               ///< granite
  std::optional<double> attention_multiplier;     ///< granite: in place of head_dim^-0.5
  std::optional<double> query_pre_attn_scalar;    ///< gemma2, gemma3: its ^-0.5 in place of head_dim^-0.5
  double logits_scaling = 1.0;                    ///< granite: logits are divided by it
  double logit_scale = 1.0;                       ///< cohere: logits are multiplied by it
  std::optional<double> attn_logit_softcapping;   ///< gemma2
  std::optional<double> final_logit_softcapping;  ///< gemma2, gemma3
  bool scale_attn_weights = true;                 ///< gpt2: false means no head_dim^-0.5
  bool scale_attn_by_inverse_layer_idx = false;   ///< gpt2
};

/// What a config.json says, whatever family it is. Every field has a row in the field table
/// (model_fields.cpp): its JSON keys, its default, the families that have it. A key that no row
/// knows and that may change the mathematics is an error.
struct ModelConfig {
  std::string model_type;  ///< as the file says
  Family family = Family::kLlama;
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
  bool attention_bias = false;  ///< also stablelm's use_qkv_bias
  bool mlp_bias = false;
  bool use_bias = true;  ///< starcoder2: of every linear layer
  bool qk_norm = false;  ///< cohere's use_qk_norm, stablelm's qk_layernorm
  bool use_parallel_residual = false;
  std::vector<LayerKind> layer_kinds;    ///< one a layer
  std::vector<uint8_t> layer_uses_rope;  ///< one a layer; 0 where smollm3 leaves rope out
  int sliding_window = 0;                ///< of the layers of kind kSliding
  RopeConfig rope;                       ///< of full layers
  RopeConfig rope_local;                 ///< of sliding layers; equal to `rope` in most families
  MoeConfig moe;
  ScaleConfig scale;
  std::vector<int32_t> eos_token_id;
  std::optional<int32_t> bos_token_id, pad_token_id;
  std::string dtype;   ///< as the file says: "bfloat16"
  nlohmann::json raw;  ///< the file, for messages and conversion

  /// True where layer `layer` has experts in place of one MLP.
  bool is_sparse(int layer) const;

  /// Reads a config.json, as transformers 4 or 5 writes it; of a multimodal one, the text part.
  /// A field that this library does not know is accepted when it cannot change the mathematics:
  /// it is on the list of such fields, or its value is null, false, 0 or empty. Any other is an
  /// error; a file may vouch for such fields by listing them in "mlx_genkit_ignored_fields".
  /// @param file its name, for messages.
  /// @throws FormatError naming file and field: missing, of the wrong type, out of range, or
  ///         present and not understood; for an unknown model_type, listing the supported ones.
  static ModelConfig from_json(const nlohmann::json& json, const std::string& file = "config.json");
};

/// The model types that from_json() accepts, in alphabetical order.
std::vector<std::string_view> supported_model_types();

}  // namespace genkit::config

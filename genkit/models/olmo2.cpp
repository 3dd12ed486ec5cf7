// OLMo 2: norms after attention and MLP instead of before, and RMSNorms over the whole query and key
// projections.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention olmo2_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                              const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, c.attention_bias);
  a.qk_norm = nn::QkNorm::kWhole;
  a.q_norm = w.rms_norm("q_norm", c.num_attention_heads * c.head_dim, c.norm_eps);
  a.k_norm = w.rms_norm("k_norm", c.num_key_value_heads * c.head_dim, c.norm_eps);
  return a;
}

nn::Block olmo2_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                      const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PostNormBlock{
      olmo2_attention(c, layer, w.at("self_attn"), rope),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      gated_mlp(c, w.at("mlp")),
      w.rms_norm("post_feedforward_layernorm", c.hidden_size, c.norm_eps),
  };
}

}  // namespace

std::unique_ptr<Model> make_olmo2(config::ModelConfig c, io::Checkpoint& checkpoint,
                                  const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks = make_blocks(c, [&](int layer) { return olmo2_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

// Granite: Llama with factors on embeddings, residual branches, attention scores and logits.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention granite_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                                const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, c.attention_bias);
  a.params.scale = static_cast<float>(c.scale.attention_multiplier.value_or(1.0));
  return a;
}

nn::Block granite_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                        const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps),
      granite_attention(c, layer, w.at("self_attn"), rope),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      gated_mlp(c, w.at("mlp"), c.mlp_bias),
      static_cast<float>(c.scale.residual_multiplier),
  };
}

}  // namespace

std::unique_ptr<Model> make_granite(config::ModelConfig c, io::Checkpoint& checkpoint,
                                    const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  stem.embedding_multiplier = static_cast<float>(c.scale.embedding_multiplier);
  stem.logits_multiplier = static_cast<float>(1.0 / c.scale.logits_scaling);
  auto blocks =
      make_blocks(c, [&](int layer) { return granite_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

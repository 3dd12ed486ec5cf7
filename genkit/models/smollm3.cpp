// SmolLM3: Llama where some layers, every fourth as published, have no rope at all.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Block smollm3_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                        const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps),
      separate_attention(c, layer, w.at("self_attn"), c.layer_uses_rope[layer] ? rope : nullptr,
                         c.attention_bias, c.attention_bias),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      gated_mlp(c, w.at("mlp"), c.mlp_bias),
  };
}

}  // namespace

std::unique_ptr<Model> make_smollm3(config::ModelConfig c, io::Checkpoint& checkpoint,
                                    const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks =
      make_blocks(c, [&](int layer) { return smollm3_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

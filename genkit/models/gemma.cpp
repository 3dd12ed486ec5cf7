// Gemma: Llama with scaled embeddings, norms that store weight - 1, and a GELU gate.

#include <cmath>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Block gemma_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                      const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps, 1.0f),
      separate_attention(c, layer, w.at("self_attn"), rope, c.attention_bias, c.attention_bias),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps, 1.0f),
      gated_mlp(c, w.at("mlp")),
  };
}

}  // namespace

std::unique_ptr<Model> make_gemma(config::ModelConfig c, io::Checkpoint& checkpoint,
                                  const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps, 1.0f));
  stem.embedding_multiplier = std::sqrt(static_cast<float>(c.hidden_size));
  auto blocks = make_blocks(c, [&](int layer) { return gemma_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

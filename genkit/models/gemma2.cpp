// Gemma 2: Gemma with four norms a block, every second layer sliding, soft caps on attention scores and
// logits, and a scale of its own for the scores.

#include <cmath>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention gemma2_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                               const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, c.attention_bias);
  a.params.scale = static_cast<float>(1.0 / std::sqrt(*c.scale.query_pre_attn_scalar));
  a.params.softcap = static_cast<float>(c.scale.attn_logit_softcapping.value_or(0.0));
  return a;
}

nn::Block gemma2_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                       const std::shared_ptr<const nn::Rope>& rope) {
  const auto norm = [&](const char* name) { return w.rms_norm(name, c.hidden_size, c.norm_eps, 1.0f); };
  return nn::SandwichBlock{
      norm("input_layernorm"),          gemma2_attention(c, layer, w.at("self_attn"), rope),
      norm("post_attention_layernorm"), norm("pre_feedforward_layernorm"),
      gated_mlp(c, w.at("mlp")),        norm("post_feedforward_layernorm"),
  };
}

}  // namespace

std::unique_ptr<Model> make_gemma2(config::ModelConfig c, io::Checkpoint& checkpoint,
                                   const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps, 1.0f));
  stem.embedding_multiplier = std::sqrt(static_cast<float>(c.hidden_size));
  stem.logits_softcap = static_cast<float>(c.scale.final_logit_softcapping.value_or(0.0));
  auto blocks =
      make_blocks(c, [&](int layer) { return gemma2_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

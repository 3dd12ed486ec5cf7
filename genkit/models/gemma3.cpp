// Gemma 3, the language model: Gemma 2 without the cap on scores, with an RMSNorm on every query and key
// head, and rope with a smaller base and no scaling in the sliding layers.

#include <cmath>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

struct Ropes {
  std::shared_ptr<const nn::Rope> full, sliding;
};

nn::Attention gemma3_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                               const Ropes& ropes) {
  const bool sliding = c.layer_kinds[layer] == config::LayerKind::kSliding;
  nn::Attention a = separate_attention(c, layer, w, sliding ? ropes.sliding : ropes.full, c.attention_bias,
                                       c.attention_bias);
  a.params.scale = static_cast<float>(1.0 / std::sqrt(*c.scale.query_pre_attn_scalar));
  a.qk_norm = nn::QkNorm::kHead;
  a.q_norm = w.rms_norm("q_norm", c.head_dim, c.norm_eps, 1.0f);
  a.k_norm = w.rms_norm("k_norm", c.head_dim, c.norm_eps, 1.0f);
  return a;
}

nn::Block gemma3_block(const config::ModelConfig& c, int layer, const WeightReader& w, const Ropes& ropes) {
  const auto norm = [&](const char* name) { return w.rms_norm(name, c.hidden_size, c.norm_eps, 1.0f); };
  return nn::SandwichBlock{
      norm("input_layernorm"),          gemma3_attention(c, layer, w.at("self_attn"), ropes),
      norm("post_attention_layernorm"), norm("pre_feedforward_layernorm"),
      gated_mlp(c, w.at("mlp")),        norm("post_feedforward_layernorm"),
  };
}

}  // namespace

std::unique_ptr<Model> make_gemma3(config::ModelConfig c, io::Checkpoint& checkpoint,
                                   const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const Ropes ropes{std::make_shared<const nn::Rope>(c.rope, false),
                    std::make_shared<const nn::Rope>(c.rope_local, false)};
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps, 1.0f));
  stem.embedding_multiplier = std::sqrt(static_cast<float>(c.hidden_size));
  stem.logits_softcap = static_cast<float>(c.scale.final_logit_softcapping.value_or(0.0));
  auto blocks =
      make_blocks(c, [&](int layer) { return gemma3_block(c, layer, w.at("layers", layer), ropes); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

// Cohere's Command R: attention and MLP in parallel over one LayerNorm without bias, rope over
// neighbouring pairs, optionally a LayerNorm of its own for every query and key head, scaled logits.

#include <mlx/ops.h>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

/// NAME.weight [heads, head_dim].
nn::Norm head_norm(const config::ModelConfig& c, const WeightReader& w, const std::string& name, int heads) {
  const mx::array weight = w.checkpoint().take_dense(w.prefix() + name + ".weight", {heads, c.head_dim});
  return {nn::Norm::Kind::kLayer, weight, std::nullopt, static_cast<float>(c.norm_eps), 0.0f};
}

nn::Attention cohere_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                               const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, c.attention_bias);
  if (c.qk_norm) {
    a.qk_norm = nn::QkNorm::kHead;
    a.q_norm = head_norm(c, w, "q_norm", c.num_attention_heads);
    a.k_norm = head_norm(c, w, "k_norm", c.num_key_value_heads);
  }
  return a;
}

nn::Block cohere_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                       const std::shared_ptr<const nn::Rope>& rope) {
  return nn::ParallelBlock{
      w.layer_norm("input_layernorm", c.hidden_size, c.norm_eps, false),
      cohere_attention(c, layer, w.at("self_attn"), rope),
      std::nullopt,
      gated_mlp(c, w.at("mlp")),
  };
}

}  // namespace

std::unique_ptr<Model> make_cohere(config::ModelConfig c, io::Checkpoint& checkpoint,
                                   const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, true);
  Stem stem = make_stem(c, w, w.layer_norm("norm", c.hidden_size, c.norm_eps, false));
  stem.logits_multiplier = static_cast<float>(c.scale.logit_scale);
  auto blocks =
      make_blocks(c, [&](int layer) { return cohere_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

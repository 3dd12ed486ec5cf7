// StableLM: LayerNorm, rope on a part of each head, optionally a LayerNorm of its own for every query and
// key head, attention and MLP in parallel over one norm or one after the other.

#include <mlx/ops.h>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

/// q_layernorm.norms.I.weight [head_dim] of all heads as one weight [heads, head_dim].
nn::Norm head_norm(const config::ModelConfig& c, const WeightReader& w, const std::string& name, int heads) {
  std::vector<mx::array> weights;
  for (int i = 0; i < heads; ++i)
    weights.push_back(w.vector(name + ".norms." + std::to_string(i) + ".weight", c.head_dim));
  mx::array all = mx::stack(weights);
  all.eval();
  return {nn::Norm::Kind::kLayer, all, std::nullopt, static_cast<float>(c.norm_eps), 0.0f};
}

nn::Attention stablelm_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                                 const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, false);
  if (c.qk_norm) {
    a.qk_norm = nn::QkNorm::kHead;
    a.q_norm = head_norm(c, w, "q_layernorm", c.num_attention_heads);
    a.k_norm = head_norm(c, w, "k_layernorm", c.num_key_value_heads);
  }
  return a;
}

nn::Block stablelm_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                         const std::shared_ptr<const nn::Rope>& rope) {
  const nn::Norm first = w.layer_norm("input_layernorm", c.hidden_size, c.norm_eps, true);
  const nn::Attention attend = stablelm_attention(c, layer, w.at("self_attn"), rope);
  const nn::GatedMlp mlp = gated_mlp(c, w.at("mlp"));
  if (c.use_parallel_residual) return nn::ParallelBlock{first, attend, std::nullopt, mlp};
  return nn::PreNormBlock{first, attend,
                          w.layer_norm("post_attention_layernorm", c.hidden_size, c.norm_eps, true), mlp};
}

}  // namespace

std::unique_ptr<Model> make_stablelm(config::ModelConfig c, io::Checkpoint& checkpoint,
                                     const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.layer_norm("norm", c.hidden_size, c.norm_eps, true));
  auto blocks =
      make_blocks(c, [&](int layer) { return stablelm_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

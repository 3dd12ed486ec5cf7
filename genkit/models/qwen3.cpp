// Qwen3: Qwen2 without its biases, with an RMSNorm on every query and key head. Qwen3-MoE has experts
// in the layers that decoder_sparse_step and mlp_only_layers leave to them.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention qwen3_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                              const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a = separate_attention(c, layer, w, rope, c.attention_bias, c.attention_bias);
  a.qk_norm = nn::QkNorm::kHead;
  a.q_norm = w.rms_norm("q_norm", c.head_dim, c.norm_eps);
  a.k_norm = w.rms_norm("k_norm", c.head_dim, c.norm_eps);
  return a;
}

nn::MoeMlp qwen3_experts(const config::ModelConfig& c, const WeightReader& w) {
  const int n = c.moe.num_experts, inner = c.moe.moe_intermediate_size, hidden = c.hidden_size;
  return {w.linear("gate", n, hidden),
          w.experts("experts.{}.gate_proj.weight", n, inner, hidden),
          w.experts("experts.{}.up_proj.weight", n, inner, hidden),
          w.experts("experts.{}.down_proj.weight", n, hidden, inner),
          c.moe.num_experts_per_tok,
          c.moe.norm_topk_prob,
          nn::activation_from_name(c.hidden_act)};
}

nn::Mlp mlp(const config::ModelConfig& c, int layer, const WeightReader& w) {
  if (c.is_sparse(layer)) return qwen3_experts(c, w);
  return gated_mlp(c, w);
}

nn::Block qwen3_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                      const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps),
      qwen3_attention(c, layer, w.at("self_attn"), rope),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      mlp(c, layer, w.at("mlp")),
  };
}

}  // namespace

std::unique_ptr<Model> make_qwen3(config::ModelConfig c, io::Checkpoint& checkpoint,
                                  const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks = make_blocks(c, [&](int layer) { return qwen3_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

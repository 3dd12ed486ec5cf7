// Mixtral: Mistral's attention, experts in place of the MLP. The chosen experts' weights are a softmax
// over all experts, made to add up to 1.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::MoeMlp mixtral_experts(const config::ModelConfig& c, const WeightReader& w) {
  const int n = c.moe.num_experts, inner = c.intermediate_size, hidden = c.hidden_size;
  return {w.linear("gate", n, hidden),
          w.experts("experts.{}.w1.weight", n, inner, hidden),
          w.experts("experts.{}.w3.weight", n, inner, hidden),
          w.experts("experts.{}.w2.weight", n, hidden, inner),
          c.moe.num_experts_per_tok,
          true,
          nn::activation_from_name(c.hidden_act)};
}

nn::Block mixtral_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                        const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps),
      separate_attention(c, layer, w.at("self_attn"), rope, false, false),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      mixtral_experts(c, w.at("block_sparse_moe")),
  };
}

}  // namespace

std::unique_ptr<Model> make_mixtral(config::ModelConfig c, io::Checkpoint& checkpoint,
                                    const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks =
      make_blocks(c, [&](int layer) { return mixtral_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

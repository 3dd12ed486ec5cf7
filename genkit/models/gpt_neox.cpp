// GPT-NeoX and Pythia: LayerNorm, rope on a part of each head, query, key and value of each head side by
// side in one matrix, a plain MLP, attention and MLP in parallel or one after the other.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention gpt_neox_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                                 const std::shared_ptr<const nn::Rope>& rope) {
  nn::Attention a;
  a.layer = layer;
  a.params = attention_params(c, layer);
  a.layout = nn::QkvLayout::kFusedHeads;
  a.qkv = {w.linear("query_key_value", 3 * c.hidden_size, c.hidden_size, c.attention_bias)};
  a.out = w.linear("dense", c.hidden_size, c.hidden_size, c.attention_bias);
  a.rope = rope;
  return a;
}

nn::Block gpt_neox_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                         const std::shared_ptr<const nn::Rope>& rope) {
  nn::Norm first = w.layer_norm("input_layernorm", c.hidden_size, c.norm_eps, true);
  nn::Norm second = w.layer_norm("post_attention_layernorm", c.hidden_size, c.norm_eps, true);
  nn::PlainMlp mlp{w.linear("mlp.dense_h_to_4h", c.intermediate_size, c.hidden_size, true),
                   w.linear("mlp.dense_4h_to_h", c.hidden_size, c.intermediate_size, true),
                   nn::activation_from_name(c.hidden_act)};
  nn::Attention attend = gpt_neox_attention(c, layer, w.at("attention"), rope);
  if (c.use_parallel_residual) return nn::ParallelBlock{first, attend, second, mlp};
  return nn::PreNormBlock{first, attend, second, mlp};
}

}  // namespace

std::unique_ptr<Model> make_gpt_neox(config::ModelConfig c, io::Checkpoint& checkpoint,
                                     const LoadOptions& options) {
  const WeightReader w = WeightReader(checkpoint, options, "gpt_neox.");
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.layer_norm("final_layer_norm", c.hidden_size, c.norm_eps, true),
                        "embed_in.weight", "embed_out.weight");
  auto blocks =
      make_blocks(c, [&](int layer) { return gpt_neox_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

// Phi-3 and Phi-4-mini: Llama with query, key and value in one matrix, gate and up in another, rope on a
// part of each head, and longrope: other frequencies once a row is longer than the original context.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention phi3_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                             const std::shared_ptr<const nn::Rope>& rope) {
  const int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  nn::Attention a;
  a.layer = layer;
  a.params = attention_params(c, layer);
  const nn::Linear all = w.linear("qkv_proj", q + 2 * kv, c.hidden_size);
  a.qkv = {all.outputs(0, q), all.outputs(q, q + kv), all.outputs(q + kv, q + 2 * kv)};
  a.out = w.linear("o_proj", c.hidden_size, q);
  a.rope = rope;
  return a;
}

nn::Block phi3_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                     const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.rms_norm("input_layernorm", c.hidden_size, c.norm_eps),
      phi3_attention(c, layer, w.at("self_attn"), rope),
      w.rms_norm("post_attention_layernorm", c.hidden_size, c.norm_eps),
      nn::gated_mlp_of_pair(w.linear("mlp.gate_up_proj", 2 * c.intermediate_size, c.hidden_size),
                            w.linear("mlp.down_proj", c.hidden_size, c.intermediate_size),
                            nn::activation_from_name(c.hidden_act)),
  };
}

}  // namespace

std::unique_ptr<Model> make_phi3(config::ModelConfig c, io::Checkpoint& checkpoint,
                                 const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks = make_blocks(c, [&](int layer) { return phi3_block(c, layer, w.at("layers", layer), rope); });
  // Keys rotated with the short factors are of no use to a row that has grown past the border.
  std::optional<int> border;
  if (c.rope.type == config::RopeType::kLongRope) border = c.rope.original_max_position_embeddings;
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks), border);
}

}  // namespace genkit::models

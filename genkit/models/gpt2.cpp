// GPT-2: learned positions, LayerNorm, biases everywhere, a plain MLP.

#include <cmath>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Attention gpt2_attention(const config::ModelConfig& c, int layer, const WeightReader& w) {
  nn::Attention a;
  a.layer = layer;
  a.params = attention_params(c, layer);
  if (!c.scale.scale_attn_weights) a.params.scale = 1.0f;
  if (c.scale.scale_attn_by_inverse_layer_idx) a.params.scale /= static_cast<float>(layer + 1);
  const int n = c.hidden_size;
  const nn::Linear all = w.linear("c_attn", 3 * n, n, true);
  a.qkv = {all.outputs(0, n), all.outputs(n, 2 * n), all.outputs(2 * n, 3 * n)};
  a.out = w.linear("c_proj", c.hidden_size, c.hidden_size, true);
  return a;
}

nn::Block gpt2_block(const config::ModelConfig& c, int layer, const WeightReader& w) {
  return nn::PreNormBlock{
      w.layer_norm("ln_1", c.hidden_size, c.norm_eps, true),
      gpt2_attention(c, layer, w.at("attn")),
      w.layer_norm("ln_2", c.hidden_size, c.norm_eps, true),
      nn::PlainMlp{w.linear("mlp.c_fc", c.intermediate_size, c.hidden_size, true),
                   w.linear("mlp.c_proj", c.hidden_size, c.intermediate_size, true),
                   nn::activation_from_name(c.hidden_act)},
  };
}

}  // namespace

std::unique_ptr<Model> make_gpt2(config::ModelConfig c, io::Checkpoint& checkpoint,
                                 const LoadOptions& options) {
  const WeightReader w = WeightReader(checkpoint, options, "transformer.");
  Stem stem = make_stem(c, w, w.layer_norm("ln_f", c.hidden_size, c.norm_eps, true), "wte.weight");
  stem.positions = w.matrix("wpe.weight", c.max_position_embeddings, c.hidden_size);
  auto blocks = make_blocks(c, [&](int layer) { return gpt2_block(c, layer, w.at("h", layer)); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

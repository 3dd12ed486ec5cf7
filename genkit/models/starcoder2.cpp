// StarCoder2: LayerNorm, biases on every linear layer, a plain MLP, an optional window in every layer.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Block starcoder2_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                           const std::shared_ptr<const nn::Rope>& rope) {
  return nn::PreNormBlock{
      w.layer_norm("input_layernorm", c.hidden_size, c.norm_eps, true),
      separate_attention(c, layer, w.at("self_attn"), rope, c.use_bias, c.use_bias),
      w.layer_norm("post_attention_layernorm", c.hidden_size, c.norm_eps, true),
      nn::PlainMlp{w.linear("mlp.c_fc", c.intermediate_size, c.hidden_size, c.use_bias),
                   w.linear("mlp.c_proj", c.hidden_size, c.intermediate_size, c.use_bias),
                   nn::activation_from_name(c.hidden_act)},
  };
}

}  // namespace

std::unique_ptr<Model> make_starcoder2(config::ModelConfig c, io::Checkpoint& checkpoint,
                                       const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, false);
  Stem stem = make_stem(c, w, w.layer_norm("norm", c.hidden_size, c.norm_eps, true));
  auto blocks =
      make_blocks(c, [&](int layer) { return starcoder2_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

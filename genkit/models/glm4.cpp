// GLM-4-0414: four norms a block, rope over neighbouring pairs of half of each head, biases on query, key
// and value, gate and up in one matrix.

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

nn::Block glm4_block(const config::ModelConfig& c, int layer, const WeightReader& w,
                     const std::shared_ptr<const nn::Rope>& rope) {
  const auto norm = [&](const char* name) { return w.rms_norm(name, c.hidden_size, c.norm_eps); };
  return nn::SandwichBlock{
      norm("input_layernorm"),
      separate_attention(c, layer, w.at("self_attn"), rope, c.attention_bias, false),
      norm("post_self_attn_layernorm"),
      norm("post_attention_layernorm"),
      nn::gated_mlp_of_pair(w.linear("mlp.gate_up_proj", 2 * c.intermediate_size, c.hidden_size),
                            w.linear("mlp.down_proj", c.hidden_size, c.intermediate_size),
                            nn::activation_from_name(c.hidden_act)),
      norm("post_mlp_layernorm"),
  };
}

}  // namespace

std::unique_ptr<Model> make_glm4(config::ModelConfig c, io::Checkpoint& checkpoint,
                                 const LoadOptions& options) {
  const WeightReader w = model_weights(checkpoint, options);
  const auto rope = std::make_shared<const nn::Rope>(c.rope, true);
  Stem stem = make_stem(c, w, w.rms_norm("norm", c.hidden_size, c.norm_eps));
  auto blocks = make_blocks(c, [&](int layer) { return glm4_block(c, layer, w.at("layers", layer), rope); });
  return std::make_unique<Decoder>(std::move(c), std::move(stem), std::move(blocks));
}

}  // namespace genkit::models

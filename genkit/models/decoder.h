#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/models/weight_reader.h"
#include "genkit/nn/block.h"

namespace genkit::models {

/// What stands before and after the blocks of a decoder.
struct Stem {
  ops::Weight embedding;                 ///< [vocab, hidden]
  std::optional<ops::Weight> positions;  ///< [positions, hidden]: learned positions, added
  float embedding_multiplier = 1.0f;
  nn::Norm final_norm;
  std::optional<nn::Linear> head;  ///< nothing: the embedding is the head
  float logits_multiplier = 1.0f;
  float logits_softcap = 0.0f;  ///< 0: none
};

/// The forward pass that all families share: embedding, blocks, final norm, head, with the hooks'
/// places between them. What makes a family is in its stem and blocks.
class Decoder final : public Model {
 public:
  /// @param cache_border @see Model::cache_border.
  Decoder(config::ModelConfig config, Stem stem, std::vector<nn::Block> blocks,
          std::optional<int> cache_border = std::nullopt);

  std::vector<ops::KvShape> cache_layers() const override;
  ForwardOutput forward(const ForwardInput& input, cache::KvCache* cache,
                        const std::vector<ForwardHook*>& hooks) const override;
  Components components() const override;
  mx::array head(const mx::array& states) const override;
  std::optional<int> cache_border() const override { return cache_border_; }
  int rotated_alike(int a, int b, int length) const override;

 private:
  /// The rows with their positions resolved. @throws ArgumentError when anything does not add up.
  std::vector<RowSpan> check(const ForwardInput& input, cache::KvCache* cache) const;
  /// @param drops_tokens @see nn::AttentionContext::wanted.
  std::shared_ptr<const nn::AttentionContext> context(const ForwardInput& input,
                                                      const std::vector<RowSpan>& rows, cache::KvCache* cache,
                                                      bool drops_tokens) const;
  mx::array run_blocks(mx::array x, const ForwardInput& input,
                       const std::shared_ptr<const nn::AttentionContext>& context,
                       const std::vector<ForwardHook*>& hooks) const;
  mx::array embed(const ForwardInput& input, const mx::array& positions,
                  const std::vector<ForwardHook*>& hooks) const;

  Stem stem_;
  std::shared_ptr<const std::vector<nn::Block>> blocks_;
  nn::GraphForm form_;
  std::optional<int> cache_border_;
};

/// The parameters of the attention in block `layer`, as most families have them.
ops::AttentionParams attention_params(const config::ModelConfig& config, int layer);

/// Attention with separate q_proj, k_proj, v_proj and o_proj, as most families name them.
/// @param weights at the attention's prefix.
nn::Attention separate_attention(const config::ModelConfig& config, int layer, const WeightReader& weights,
                                 std::shared_ptr<const nn::Rope> rope, bool qkv_bias, bool out_bias);

/// gate_proj, up_proj, down_proj.
nn::GatedMlp gated_mlp(const config::ModelConfig& config, const WeightReader& weights, bool bias = false);

/// Embedding below `weights`, the given final norm, and, unless they are tied, a head. A head that
/// the file holds although it is tied must have the embedding's shape.
Stem make_stem(const config::ModelConfig& config, const WeightReader& weights, nn::Norm final_norm,
               const std::string& embedding_name = "embed_tokens.weight",
               const std::string& head_name = "lm_head.weight");

/// The reader of everything below "model.".
WeightReader model_weights(io::Checkpoint& checkpoint, const LoadOptions& options);

/// One block a layer.
std::vector<nn::Block> make_blocks(const config::ModelConfig& config,
                                   const std::function<nn::Block(int layer)>& make);

}  // namespace genkit::models

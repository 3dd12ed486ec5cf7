#pragma once

#include <variant>

#include "genkit/nn/attention.h"
#include "genkit/nn/mlp.h"
#include "genkit/nn/norm.h"

namespace genkit::nn {

/// Any of the feed-forward parts.
using Mlp = std::variant<GatedMlp, FusedGatedMlp, PlainMlp, MoeMlp>;
mx::array run(const Mlp& mlp, const mx::array& x);

/// x + m attention(norm(x)), then x + m mlp(norm(x)): llama and most others.
struct PreNormBlock {
  Norm attention_norm;
  Attention attention;
  Norm mlp_norm;
  Mlp mlp;
  float residual_multiplier = 1.0f;  ///< m: granite

  mx::array operator()(const mx::array& x, const AttentionContext& context) const;
};

/// x + norm(attention(norm(x))), then x + norm(mlp(norm(x))): gemma2, gemma3, glm4.
struct SandwichBlock {
  Norm attention_norm;
  Attention attention;
  Norm post_attention_norm;
  Norm mlp_norm;
  Mlp mlp;
  Norm post_mlp_norm;

  mx::array operator()(const mx::array& x, const AttentionContext& context) const;
};

/// x + norm(attention(x)), then x + norm(mlp(x)): olmo2.
struct PostNormBlock {
  Attention attention;
  Norm post_attention_norm;
  Mlp mlp;
  Norm post_mlp_norm;

  mx::array operator()(const mx::array& x, const AttentionContext& context) const;
};

/// x + attention(norm(x)) + mlp(norm'(x)): cohere, gpt_neox, stablelm.
struct ParallelBlock {
  Norm attention_norm;
  Attention attention;
  std::optional<Norm> mlp_norm;  ///< nothing: the MLP sees what attention sees
  Mlp mlp;

  mx::array operator()(const mx::array& x, const AttentionContext& context) const;
};

using Block = std::variant<PreNormBlock, SandwichBlock, PostNormBlock, ParallelBlock>;
mx::array run(const Block& block, const mx::array& x, const AttentionContext& context);

}  // namespace genkit::nn

#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "genkit/nn/attention.h"
#include "genkit/nn/mlp.h"
#include "genkit/nn/norm.h"

namespace genkit::nn {

/// Any of the feed-forward parts.
using Mlp = std::variant<GatedMlp, PlainMlp, MoeMlp>;

/// x + m attention(norm(x)), then x + m mlp(norm(x)): llama and most others.
struct PreNormBlock {
  Norm attention_norm;
  Attention attention;
  Norm mlp_norm;
  Mlp mlp;
  float residual_multiplier = 1.0f;  ///< m: granite
};

/// x + norm(attention(norm(x))), then x + norm(mlp(norm(x))): gemma2, gemma3, glm4.
struct SandwichBlock {
  Norm attention_norm;
  Attention attention;
  Norm post_attention_norm;
  Norm mlp_norm;
  Mlp mlp;
  Norm post_mlp_norm;
};

/// x + norm(attention(x)), then x + norm(mlp(x)): olmo2.
struct PostNormBlock {
  Attention attention;
  Norm post_attention_norm;
  Mlp mlp;
  Norm post_mlp_norm;
};

/// x + attention(norm(x)) + mlp(norm'(x)): cohere, gpt_neox, stablelm.
struct ParallelBlock {
  Norm attention_norm;
  Attention attention;
  std::optional<Norm> mlp_norm;  ///< nothing: the MLP sees what attention sees
  Mlp mlp;
};

using Block = std::variant<PreNormBlock, SandwichBlock, PostNormBlock, ParallelBlock>;

const Attention& attention_of(const Block& block);

/// Blocks of a pass that nobody looks between.
struct BlockRange {
  std::shared_ptr<const std::vector<Block>> blocks;
  int begin = 0, end = 0;
  bool ends_pass = false;  ///< the last of them computes the wanted tokens alone
};

/// How run_blocks() builds its part of the graph. The numbers are the same.
enum class GraphForm : uint8_t {
  kSteps,  ///< a node a step: what gradients are taken through, and what runs off the CPU
  kFused,  ///< one node for all the blocks; @see can_fuse
};

/// True when the blocks can be one node: on the CPU, with weights that are at hand and that nobody
/// takes gradients of.
bool can_fuse(const std::vector<Block>& blocks);

/// Runs consecutive blocks. @param x [tokens, hidden] float32.
/// @return [tokens, hidden], or [wanted tokens, hidden] where the range ends the pass.
/// @param form kFused only where can_fuse() says so; where x is traced, steps are taken all the same.
mx::array run_blocks(const BlockRange& range, const mx::array& x,
                     const std::shared_ptr<const AttentionContext>& context, GraphForm form);

}  // namespace genkit::nn

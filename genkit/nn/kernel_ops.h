#pragma once

#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "genkit/nn/arena.h"
#include "genkit/nn/block.h"

namespace genkit::nn {

/// A pass's operations run at once on the kernels, inside one node of the graph. The bits are those
/// of GraphOps on the CPU. Every weight must be at hand, row after row: @see can_fuse.
class KernelOps {
 public:
  using Tensor = Buffer;
  KernelOps(const AttentionContext& context, Arena& arena);

  /// Begins a block. @param drops_tokens @see GraphOps::drops_tokens.
  void enter(bool drops_tokens) { drops_tokens_ = drops_tokens; }
  bool drops_tokens() const { return drops_tokens_; }
  Buffer wanted(const Buffer& x);
  Buffer copy(const float* x, int64_t rows, int64_t width);

  std::vector<Buffer> linear(const Buffer& x, std::initializer_list<const Linear*> layers);
  Buffer norm(const Norm& norm, const Buffer& x);
  Buffer norm(const Norm& norm, Buffer&& x);
  Buffer head_norm(const Norm& norm, Buffer x, int heads);
  std::pair<Buffer, Buffer> add_and_norm(const Buffer& x, Buffer y, const Norm* post, const Norm& norm);
  Buffer add(Buffer a, const Buffer& b);
  Buffer scale(Buffer x, float factor);
  std::vector<Buffer> split_heads(const Buffer& x, int heads);
  Buffer rotate(const Rope& rope, Buffer x, int heads, bool wanted_only);
  Buffer attention(const Attention& a, const Buffer& q, const Buffer& k, const Buffer& v);
  Buffer activate(Buffer x, ops::Activation activation);
  Buffer gate(Buffer gate, const Buffer& up, ops::Activation activation);
  Buffer mixture(const MoeMlp& mlp, const Buffer& x);

 private:
  /// cos and sin of every token, as all layers with one rope share them.
  struct Angles {
    Buffer cosines, sines;  ///< [tokens, half_dims]
    bool interleaved = false;
  };
  const Angles& angles(const Rope& rope, bool wanted_only);
  void expert_linear(const Buffer& x, bool row_a_choice, const std::vector<int32_t>& experts,
                     const ops::Weight& w, Buffer& y);

  const AttentionContext& context_;
  Arena& arena_;
  bool drops_tokens_ = false;
  std::vector<int32_t> wanted_;
  std::map<std::pair<const Rope*, bool>, Angles> angles_;
};

}  // namespace genkit::nn

#pragma once

#include <mlx/array.h>

#include <initializer_list>
#include <utility>
#include <vector>

#include "genkit/nn/block.h"

namespace genkit::nn {

/// A pass's operations as nodes of the graph, one each. @see block_inl.h
class GraphOps {
 public:
  using Tensor = mx::array;
  GraphOps(const AttentionContext& context, bool drops_tokens)
      : context_(context), drops_tokens_(drops_tokens) {}

  /// True in a block that goes on with the wanted tokens alone after its keys and values are kept.
  bool drops_tokens() const { return drops_tokens_; }
  mx::array wanted(const mx::array& x) const;

  std::vector<mx::array> linear(const mx::array& x, std::initializer_list<const Linear*> layers) const;
  mx::array norm(const Norm& norm, const mx::array& x) const { return norm(x); }
  mx::array head_norm(const Norm& norm, const mx::array& x, int heads) const;
  /// {x + post(y), norm(x + post(y))}; `post` may be null.
  std::pair<mx::array, mx::array> add_and_norm(const mx::array& x, const mx::array& y, const Norm* post,
                                               const Norm& norm) const;
  mx::array add(const mx::array& a, const mx::array& b) const;
  mx::array scale(const mx::array& x, float factor) const;
  /// [tokens, heads * 3 * dim] to three of [tokens, heads * dim].
  std::vector<mx::array> split_heads(const mx::array& x, int heads) const;
  /// @param wanted_only x holds the wanted tokens.
  mx::array rotate(const Rope& rope, const mx::array& x, int heads, bool wanted_only) const;
  mx::array attention(const Attention& a, const mx::array& q, const mx::array& k, const mx::array& v) const;
  mx::array activate(const mx::array& x, ops::Activation activation) const;
  mx::array gate(const mx::array& gate, const mx::array& up, ops::Activation activation) const;
  mx::array mixture(const MoeMlp& mlp, const mx::array& x) const { return mlp(x); }

 private:
  const AttentionContext& context_;
  bool drops_tokens_;
};

}  // namespace genkit::nn

#pragma once

#include <mlx/array.h>

namespace genkit::ops {

namespace mx = mlx::core;

/// What a router decides.
struct Routes {
  mx::array experts;  ///< [tokens, choices] int32, the most probable first, ties by rising number
  mx::array weights;  ///< [tokens, choices] float32, their probabilities
};

/// Softmax over each token's experts, and the `choices` most probable of them.
/// @param logits    [tokens, experts].
/// @param normalize the chosen probabilities are made to add up to 1.
/// @throws ArgumentError unless 1 <= choices <= experts.
/// @source transformers 5.23 MixtralTopKRouter, Qwen3MoeTopKRouter.
Routes route(const mx::array& logits, int choices, bool normalize);

/// sum over c of weights[t, c] * y[t, c]. @param y [tokens, choices, n]. @return [tokens, n].
mx::array mix_experts(const mx::array& y, const mx::array& weights);

}  // namespace genkit::ops

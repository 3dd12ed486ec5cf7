#pragma once

#include <mlx/array.h>

namespace genkit::ops {

namespace mx = mlx::core;

/// Negative log-likelihood of each target under softmax(logits).
/// @param logits  [tokens, vocab] float32.
/// @param targets [tokens] int32 below vocab; a negative one does not count: its loss and gradient are 0.
/// @return        [tokens] float32.
/// @throws ArgumentError when the shapes do not fit, or a target that is at hand is not below vocab.
mx::array cross_entropy(const mx::array& logits, const mx::array& targets);

/// x - log(sum(exp(x))) over the last axis, float32.
mx::array log_softmax(const mx::array& x);

}  // namespace genkit::ops

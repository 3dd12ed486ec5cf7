#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "genkit/logits/random.h"

namespace genkit::generate {

/// One token more on one beam.
struct Continuation {
  int beam = 0;
  int32_t token = 0;
  float score = 0;  ///< of the whole beam: sum of processed log-probabilities
};

/// Picks `count` different continuations of a prompt's beams, in the order in which they rank.
/// @param scores of each beam, [vocab] float32: what each token would bring the beam to; -inf where
///               it is removed. No NaN.
/// @param count  at most beams * vocab.
using ChooseContinuations = std::function<std::vector<Continuation>(
    std::span<const std::span<const float>> scores, int count, const logits::DrawKey& key)>;

/// The best, best first; of equal ones the lower beam, then the lower id.
std::vector<Continuation> best_continuations(std::span<const std::span<const float>> scores, int count);

/// Drawn one after the other without replacement from softmax(scores) over all beams. Where fewer
/// have a probability above zero, the best of the others follow.
/// @source transformers 5.23 _get_top_k_continuations with do_sample.
std::vector<Continuation> draw_continuations(std::span<const std::span<const float>> scores, int count,
                                             const logits::DrawKey& key);

}  // namespace genkit::generate

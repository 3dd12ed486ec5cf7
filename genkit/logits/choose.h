#pragma once

#include <cstdint>
#include <span>

#include "genkit/logits/random.h"
#include "genkit/logits/scores.h"

namespace genkit::logits {

/// The id with the largest score, the lowest of tied ones.
/// @throws Error when a score is NaN or every token is removed: there is no best one.
int32_t argmax(const Scores& scores);
int32_t argmax(std::span<const float> scores);

/// Draws an id from softmax(scores): the first, in ascending order, at which the running sum of
/// probabilities passes the uniform number of this key.
/// @param draw which of the step's numbers.
/// @throws Error as argmax, and for an infinite score.
int32_t sample(const Scores& scores, const DrawKey& key, uint16_t draw = 0);

}  // namespace genkit::logits

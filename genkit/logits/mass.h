#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "genkit/logits/selection.h"

// Which tokens hold a share of the probability, without sorting a vocabulary.

namespace genkit::logits {

/// Within this, masses and scores that are rounded in different ways are not told apart.
constexpr double kMargin = 1e-5;
/// So that rounding to fp32 leaves out nothing that is not below.
float a_little_below(double score);

/// The softmax over what is left, entry by entry, without what is removed. Empty where it is none: NaN has no
/// order and infinity no distribution; the choice at the end of the chain says so.
std::vector<Weighted> distribution(const Scores& scores);

/// Of scores that are worth_selecting() the entries of ids above `bound`, unless they are too many to look at
/// each.
std::optional<std::vector<Weighted>> entries_above(const Scores& scores, double norm, float bound);

double sum_of(const std::vector<Weighted>& entries);

/// Where the running sum of probabilities passes a border, in the order of the distance of scores from
/// `center`.
struct MassBorder {
  std::vector<int32_t> nearer;  ///< ids before the border's neighbourhood, ascending
  std::vector<Weighted> at;     ///< the neighbourhood, by ascending id; keys are the scores
  double passed = 0;            ///< sum of what comes before it: of the nearer ones, or of those farther away
};
/// Of scores that are worth_selecting(), of any shape, in a few passes. The sums are exact to about 1e-6.
/// @param from_far the sum begins at those farthest away.
/// @param stays    of a running sum: whether it is before the border; monotone, true first.
/// @return nothing where the border lies among a last few that are hardly probable.
std::optional<MassBorder> mass_border(const Scores& scores, double norm, float center, bool from_far,
                                      const std::function<bool(double)>& stays);

}  // namespace genkit::logits

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "genkit/logits/scores.h"

namespace genkit::logits {

/// Selection in place of sorting: a vocabulary of 262,144 scores takes 40 ms to sort and under one
/// to select from.

/// Whether the scores are a whole vocabulary, of which kernels find the few that matter faster than a look at
/// each; of short rows everything is looked at, in double precision.
bool worth_selecting(const Scores& scores);

/// The k-th largest value, counted with its ties; -inf where there are fewer than k.
/// @param k at least 1.
float kth_largest(const Scores& scores, int k);

/// The n largest entries, best first, the lower id before a tied higher one.
std::vector<std::pair<int32_t, float>> largest(std::span<const float> values, int n);

/// The same of what is left.
std::vector<std::pair<int32_t, float>> largest(const Scores& scores, int n);

/// The n entries with the largest map(value), best first, the lower id before a tied higher one, and their
/// mapped values. @param map never falls where its argument rises. Looks at few entries closely; empty
/// where that does not tell which they are: fewer than n above -inf, or too many ties.
std::vector<std::pair<int32_t, float>> largest_mapped(std::span<const float> values, int n,
                                                      const std::function<float(float)>& map);

/// An entry of a distribution: `key` orders it, `mass` is its probability.
struct Weighted {
  float key;
  double mass;
  int32_t id;
};

/// Sorts the entries that decide where a running sum of masses, in ascending order of key (of id
/// where keys are equal), passes `limit`: what lies before them in the order sums up to at most
/// `limit`, what lies behind is beyond it.
/// @return how many entries at the front of the (partially reordered) list have running sums, their
///         own mass included, for which stays(sum) holds; `stays` is monotone, true first.
template <class Stays>
size_t prefix_by_mass(std::vector<Weighted>& entries, Stays stays);

/// Of scores that are worth_selecting(): the ids above `bound`, in ascending order. Looks closely at few.
std::vector<int32_t> ids_above(const Scores& scores, float bound);

/// score / divisor, of every score.
void divide(Scores& scores, float divisor);

/// Entropy in nats of what is left. @param norm its log_sum_exp, finite.
double entropy(const Scores& scores, double norm);

bool any_nan(std::span<const float> values);

/// log(sum(exp(x))); -inf where everything is removed, NaN where an entry is NaN.
double log_sum_exp(std::span<const float> values);
double log_sum_exp(const Scores& scores);

}  // namespace genkit::logits

#include "genkit/logits/selection_inl.h"

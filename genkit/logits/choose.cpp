#include "genkit/logits/choose.h"

#include <cmath>

#include "genkit/base/error.h"
#include "genkit/kernels/sampling.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

[[noreturn]] void refuse_nan() {
  throw Error("logits: a score is not a number, so that no token can be chosen; see remove_invalid_values");
}

/// The same of a whole vocabulary: first the stretch in which the running sum passes, then the id in it.
int32_t sample_dense(const Scores& all, double uniform) {
  const std::span<const float> scores = all.values();
  const auto& sums = all.moments().stretches;
  const float top = all.moments().shift;
  double total = 0;
  for (const auto& stretch : sums) total += stretch.sum;
  const double target = uniform * total;
  double passed = 0;
  int32_t last = -1;
  for (const auto& stretch : sums) {
    if (stretch.sum > 0 && passed + stretch.sum > target) {
      // Within the stretch by its own sum, which ends where the stretch's does whatever its rounding.
      double inside = 0;
      for (int64_t id = stretch.begin; id < stretch.end; ++id) inside += std::exp(scores[id] - top);
      const double share = (target - passed) / stretch.sum * inside;
      double running = 0;
      for (int64_t id = stretch.begin; id < stretch.end; ++id) {
        const float mass = std::exp(scores[id] - top);
        running += mass;
        if (mass > 0) last = static_cast<int32_t>(id);
        if (running > share) return static_cast<int32_t>(id);
      }
      return last;
    }
    passed += stretch.sum;
  }
  // The target was the total itself.
  for (int64_t id = static_cast<int64_t>(scores.size()); id-- > 0;) {
    if (std::exp(scores[id] - top) > 0) return static_cast<int32_t>(id);
  }
  return last;
}

/// The kernel passes over NaNs, so they are looked for where there can be any.
int32_t argmax_of(std::span<const float> values, const kernels::Maxima& known) {
  if (!known.below_infinity && any_nan(values)) refuse_nan();
  if (known.top == kRemoved) throw Error("logits: every token is removed, so that none can be chosen");
  return static_cast<int32_t>(kernels::argmax(values.data(), static_cast<int64_t>(values.size()), known));
}

}  // namespace

int32_t argmax(std::span<const float> values) {
  const auto n = static_cast<int64_t>(values.size());
  const kernels::Maxima known = kernels::maxima(values.data(), n);
  return argmax_of(values, known);
}

int32_t argmax(const Scores& scores) {
  if (scores.dense()) return argmax_of(scores.values(), scores.maxima());
  int32_t best = -1;
  float top = kRemoved;
  scores.for_each([&](int32_t id, float score) {
    if (score != score) refuse_nan();
    if (score > top) {
      top = score;
      best = id;
    }
  });
  if (best < 0) throw Error("logits: every token is removed, so that none can be chosen");
  return best;
}

int32_t sample(const Scores& scores, const DrawKey& key, uint16_t draw) {
  const float top = scores.values()[static_cast<size_t>(argmax(scores))];
  if (std::isinf(top))
    throw Error("logits: a score is infinite, so that there is no distribution to draw from");
  if (worth_selecting(scores)) return sample_dense(scores, uniform(key, draw));
  double total = 0;
  scores.for_each([&](int32_t, float score) { total += std::exp(score - top); });
  const double target = uniform(key, draw) * total;
  double passed = 0;
  int32_t chosen = -1, last = -1;
  scores.for_each([&](int32_t id, float score) {
    if (chosen >= 0) return;
    const float mass = std::exp(score - top);
    passed += mass;
    if (mass > 0) last = id;
    if (passed > target) chosen = id;
  });
  // The sums are the same in both passes, so only a target equal to the total comes here.
  return chosen >= 0 ? chosen : last;
}

}  // namespace genkit::logits

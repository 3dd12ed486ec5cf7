#include "genkit/logits/choose.h"

#include <cmath>

#include "genkit/base/error.h"
#include "genkit/kernels/sampling.h"

namespace genkit::logits {
namespace {

[[noreturn]] void refuse_nan() {
  throw Error("logits: a score is not a number, so that no token can be chosen; see remove_invalid_values");
}

}  // namespace

int32_t argmax(std::span<const float> scores) {
  // The kernel passes over NaNs, so they are looked for first.
  int nan = 0;
  for (const float score : scores) nan |= score != score;
  if (nan) refuse_nan();
  const auto best = static_cast<int32_t>(kernels::argmax(scores.data(), static_cast<int64_t>(scores.size())));
  if (scores.empty() || scores[static_cast<size_t>(best)] == kRemoved) {
    throw Error("logits: every token is removed, so that none can be chosen");
  }
  return best;
}

int32_t argmax(const Scores& scores) {
  if (scores.dense()) return argmax(scores.values());
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

#include "genkit/logits/speculative.h"

#include <cmath>

#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

double probability(const Scores& scores, int32_t id, double norm) {
  return std::exp(static_cast<double>(scores.values()[static_cast<size_t>(id)]) - norm);
}

}  // namespace

double acceptance(const Scores& target, const Scores& draft, int32_t id) {
  const double p = probability(target, id, log_sum_exp(target));
  const double q = probability(draft, id, log_sum_exp(draft));
  return p > 0 ? p / q : 0;
}

void leave_residual(Scores& target, const Scores& draft) {
  const double p_norm = log_sum_exp(target), q_norm = log_sum_exp(draft);
  const auto difference = [&](int32_t id) {
    return std::max(probability(target, id, p_norm) - probability(draft, id, q_norm), 0.0);
  };
  double total = 0;
  target.for_each([&](int32_t id, float) { total += difference(id); });
  if (!(total > 0)) return;
  // In place: each entry is read once more before it is written.
  target.transform([&](int32_t id, float) {
    const double rest = difference(id);
    return rest > 0 ? static_cast<float>(std::log(rest / total)) : kRemoved;
  });
}

int32_t verify(Scores& target, const Scores& draft, int32_t id, const DrawKey& key) {
  argmax(target);  // refuses scores that nothing can be chosen from
  const double ratio = acceptance(target, draft, id);
  if (ratio > 0 && uniform(key, kAcceptDraw) <= ratio) return id;
  leave_residual(target, draft);
  return sample(target, key, kResidualDraw);
}

}  // namespace genkit::logits

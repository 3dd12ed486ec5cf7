#include "genkit/logits/mass.h"

#include <cmath>

namespace genkit::logits {

float a_little_below(double score) { return static_cast<float>(score - kMargin * (1 + std::fabs(score))); }

std::vector<Weighted> distribution(const Scores& scores) {
  const double norm = log_sum_exp(scores);
  std::vector<Weighted> out;
  if (!std::isfinite(norm)) return out;
  out.reserve(scores.count());
  scores.for_each([&](int32_t id, float score) {
    if (score > kRemoved) out.push_back({score, std::exp(score - norm), id});
  });
  return out;
}

std::optional<std::vector<Weighted>> entries_above(const Scores& scores, double norm, float bound) {
  constexpr int64_t kMost = 4096;
  const std::span<const float> values = scores.values();
  const auto ids = kernels::indices_above(values.data(), static_cast<int64_t>(values.size()), bound, kMost,
                                          scores.maxima());
  if (!ids) return {};
  std::vector<Weighted> out;
  out.reserve(ids->size());
  for (const int32_t id : *ids) {
    const float score = values[static_cast<size_t>(id)];
    out.push_back({score, std::exp(score - norm), id});
  }
  return out;
}

double sum_of(const std::vector<Weighted>& entries) {
  double sum = 0;
  for (const Weighted& entry : entries) sum += entry.mass;
  return sum;
}

std::optional<MassBorder> mass_border(const Scores& scores, double norm, float center, bool from_far,
                                      const std::function<bool(double)>& stays) {
  constexpr int kLast = kernels::kHistogramBins - 1;
  constexpr float kRange = 20, kScale = kLast / kRange;  // nats; what is farther shares the last bin
  const std::span<const float> values = scores.values();
  const kernels::Moments& moments = scores.moments();
  const kernels::MassHistogram bins = kernels::mass_histogram(
      values.data(), static_cast<int64_t>(values.size()), moments.shift, center, kScale);
  MassBorder out;
  int border = from_far ? kLast : 0;
  for (; border >= 0 && border <= kLast; border += from_far ? -1 : 1) {
    const double sum = out.passed + bins[static_cast<size_t>(border)] / moments.sum;
    if (!stays(sum)) break;
    out.passed = sum;
  }
  if (border < 0 || border >= kLast) return {};
  const float least = a_little_below(center - (static_cast<double>(border) + 0.5) / kScale);
  const float clearly_nearer = (static_cast<float>(border) - 0.51f) / kScale;
  for (const int32_t id : ids_above(scores, least)) {
    const float score = values[static_cast<size_t>(id)];
    if (std::fabs(score - center) < clearly_nearer) {
      out.nearer.push_back(id);
      continue;
    }
    const int bin = kernels::histogram_bin(score, center, kScale);
    if (bin < border) out.nearer.push_back(id);
    if (bin == border) out.at.push_back({score, std::exp(score - norm), id});
  }
  return out;
}

}  // namespace genkit::logits

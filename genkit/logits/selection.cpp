#include "genkit/logits/selection.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "genkit/kernels/sampling.h"

namespace genkit::logits {
namespace {

/// The kernel's sums are fp32; for shorter rows nothing is gained by it.
constexpr size_t kWorthwhile = 4096;

/// Up to here a heap of the best is smaller than the first cache and hardly ever changes.
constexpr int kHeapLimit = 512;

template <class ForEach>
double log_sum_exp_of(ForEach for_each) {
  float top = kRemoved;
  for_each([&](int32_t, float v) { top = std::max(top, v); });
  double sum = 0;
  if (std::isinf(top)) {
    for_each([&](int32_t, float v) {
      if (std::isnan(v)) sum = v;
    });
    return std::isnan(sum) ? sum : top;
  }
  for_each([&](int32_t, float v) { sum += std::exp(v - top); });
  return top + std::log(sum);
}

using Entry = std::pair<int32_t, float>;

template <class ForEach>
std::vector<Entry> heap_of_largest(size_t wanted, ForEach for_each) {
  const auto better = [](const Entry& a, const Entry& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  };
  std::vector<Entry> best;
  best.reserve(wanted);
  if (wanted == 0) return best;
  for_each([&](int32_t id, float score) {
    const Entry entry(id, score);
    if (best.size() < wanted) {
      best.push_back(entry);
      std::push_heap(best.begin(), best.end(), better);
    } else if (better(entry, best.front())) {
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = entry;
      std::push_heap(best.begin(), best.end(), better);
    }
  });
  std::sort_heap(best.begin(), best.end(), better);
  return best;
}

}  // namespace

bool worth_selecting(const Scores& scores) { return scores.dense() && scores.count() >= kWorthwhile; }

double entropy(const Scores& scores, double norm) {
  if (worth_selecting(scores)) return scores.moments().entropy();
  double sum = 0;
  scores.for_each([&](int32_t, float score) {
    const double p = std::exp(score - norm);
    if (p > 0) sum -= p * std::log(p);
  });
  return sum;
}

void divide(Scores& scores, float divisor) {
  if (worth_selecting(scores)) {
    const std::span<float> values = scores.values();
    return kernels::divide(values.data(), static_cast<int64_t>(values.size()), divisor);
  }
  scores.transform([divisor](int32_t, float score) { return score / divisor; });
}

std::vector<int32_t> ids_above(const Scores& scores, float bound) {
  const std::span<const float> values = scores.values();
  const auto n = static_cast<int64_t>(values.size());
  return *kernels::indices_above(values.data(), n, bound, n, scores.maxima());
}

float kth_largest(const Scores& scores, int k) {
  if (worth_selecting(scores)) {
    if (k == 1) return scores.maxima().top;
    const std::span<const float> values = scores.values();
    const auto n = static_cast<int64_t>(values.size());
    const std::vector<int32_t> best = kernels::top_n(values.data(), n, k, scores.maxima());
    return static_cast<int64_t>(best.size()) < k ? kRemoved : values[static_cast<size_t>(best.back())];
  }
  std::vector<float> best;
  if (k <= kHeapLimit) {
    best.reserve(k);
    scores.for_each([&](int32_t, float v) {
      if (static_cast<int>(best.size()) < k) {
        best.push_back(v);
        std::push_heap(best.begin(), best.end(), std::greater<>());
      } else if (v > best.front()) {
        std::pop_heap(best.begin(), best.end(), std::greater<>());
        best.back() = v;
        std::push_heap(best.begin(), best.end(), std::greater<>());
      }
    });
    return static_cast<int>(best.size()) < k ? kRemoved : best.front();
  }
  best.reserve(scores.count());
  scores.for_each([&](int32_t, float v) { best.push_back(v); });
  if (static_cast<size_t>(k) > best.size()) return kRemoved;
  std::nth_element(best.begin(), best.begin() + (k - 1), best.end(), std::greater<>());
  return best[k - 1];
}

std::vector<std::pair<int32_t, float>> largest(std::span<const float> values, int n) {
  const size_t wanted = std::min<size_t>(std::max(n, 0), values.size());
  if (values.size() >= kWorthwhile) {
    std::vector<Entry> best;
    for (const int32_t id : kernels::top_n(values.data(), static_cast<int64_t>(values.size()), n)) {
      best.emplace_back(id, values[static_cast<size_t>(id)]);
    }
    if (best.size() == wanted) return best;  // otherwise removed ones are among the wanted
  }
  return heap_of_largest(wanted, [&](auto visit) {
    for (size_t i = 0; i < values.size(); ++i) visit(static_cast<int32_t>(i), values[i]);
  });
}

std::vector<std::pair<int32_t, float>> largest(const Scores& scores, int n) {
  if (scores.dense()) return largest(scores.values(), n);
  return heap_of_largest(std::min<size_t>(std::max(n, 0), scores.count()),
                         [&](auto visit) { scores.for_each(visit); });
}

std::vector<std::pair<int32_t, float>> largest_mapped(std::span<const float> values, int n,
                                                      const std::function<float(float)>& map) {
  // Rounding may map different values to one. A few more than are wanted show whether the last one has
  // such a tie among those that were not looked at.
  constexpr int64_t kSpare = 8;
  const auto size = static_cast<int64_t>(values.size());
  const int64_t looked_at = std::min<int64_t>(size, n + kSpare);
  const std::vector<int32_t> ids = kernels::top_n(values.data(), size, looked_at);
  std::vector<std::pair<int32_t, float>> out;
  const auto wanted = static_cast<size_t>(std::min<int64_t>(size, n));
  if (ids.size() < wanted) return out;
  for (const int32_t id : ids) out.emplace_back(id, map(values[static_cast<size_t>(id)]));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  const bool all = static_cast<int64_t>(ids.size()) < looked_at || looked_at == size;
  if (!all && out.back().second == out[wanted - 1].second) return {};
  out.resize(wanted);
  return out;
}

bool any_nan(std::span<const float> values) {
  return std::any_of(values.begin(), values.end(), [](float v) { return v != v; });
}

double log_sum_exp(std::span<const float> values) {
  if (values.size() >= kWorthwhile) {
    const auto n = static_cast<int64_t>(values.size());
    const kernels::Maxima known = kernels::maxima(values.data(), n);
    if (!known.below_infinity && any_nan(values)) return std::numeric_limits<double>::quiet_NaN();
    if (std::isinf(known.top)) return known.top;
    return kernels::moments(values.data(), n, known.top).log_sum_exp();
  }
  if (any_nan(values)) return std::numeric_limits<double>::quiet_NaN();
  return log_sum_exp_of([&](auto visit) {
    for (size_t i = 0; i < values.size(); ++i) visit(static_cast<int32_t>(i), values[i]);
  });
}

double log_sum_exp(const Scores& scores) {
  if (worth_selecting(scores)) {
    const kernels::Maxima& known = scores.maxima();
    if (!known.below_infinity && any_nan(scores.values())) return std::numeric_limits<double>::quiet_NaN();
    return std::isinf(known.top) ? known.top : scores.moments().log_sum_exp();
  }
  if (scores.dense()) return log_sum_exp(scores.values());
  return log_sum_exp_of([&](auto visit) { scores.for_each(visit); });
}

}  // namespace genkit::logits

#include "genkit/kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

constexpr int64_t kPiece = 16384;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

int64_t pieces_of(int64_t n) { return (n + kPiece - 1) / kPiece; }
int64_t stretches_of(int64_t n) { return (n + kMaximaStretch - 1) / kMaximaStretch; }

// By falling value, then by rising index.
struct Better {
  const float* x;
  bool operator()(int32_t a, int32_t b) const { return x[a] != x[b] ? x[a] > x[b] : a < b; }
};

// Candidates of one stretch: collects what beats the bound, and raises the bound whenever there
// are twice as many as asked for.
void collect(const float* x, int64_t begin, int64_t end, int64_t count, const KernelTable& table,
             std::vector<int32_t>& best) {
  const int64_t room = 2 * count + 64;
  std::vector<int32_t> found(room);
  float bound = kNothing;
  for (int64_t at = 0; at < end - begin;) {
    const int64_t n = table.above(x + begin, end - begin, bound, &at, found.data(), room);
    for (int64_t i = 0; i < n; ++i) best.push_back(static_cast<int32_t>(found[i] + begin));
    if (static_cast<int64_t>(best.size()) > count) {
      std::nth_element(best.begin(), best.begin() + (count - 1), best.end(), Better{x});
      best.resize(count);
      bound = x[best[count - 1]];
    }
  }
}

// A number that at least `count` of x reach, as large as the maxima tell: the count-th largest of what are
// maxima of separate numbers.
float reached_by(int64_t count, const Maxima& known) {
  const auto nth = [count](std::vector<float> numbers) {
    std::nth_element(numbers.begin(), numbers.begin() + (count - 1), numbers.end(), std::greater<>());
    return numbers[count - 1];
  };
  const auto wanted = static_cast<size_t>(count);
  if (4 * wanted <= known.tops.size()) return nth(known.tops);
  std::vector<float> fours(known.lanes.size() / 4);
  for (size_t i = 0; i < fours.size(); ++i) {
    const float* four = known.lanes.data() + 4 * i;
    fours[i] = std::max(std::max(four[0], four[1]), std::max(four[2], four[3]));
  }
  if (3 * wanted <= fours.size()) return nth(std::move(fours));
  return 2 * wanted <= known.lanes.size() ? nth(known.lanes) : kNothing;
}

// The same without knowing any maxima, or where they do not tell enough.
std::vector<int32_t> top_by_stretches(const float* x, int64_t n, int64_t count, const KernelTable& table) {
  // A stretch a piece would collect `count` from each: with many wanted, fewer and longer ones.
  const int64_t stretch = std::max(4 * kPiece, 8 * count);
  std::vector<std::vector<int32_t>> parts((n + stretch - 1) / stretch);
  parallel_for(n, stretch, [&](int64_t begin, int64_t end) {
    collect(x, begin, end, count, table, parts[begin / stretch]);
  });
  std::vector<int32_t> best;
  for (const auto& part : parts) best.insert(best.end(), part.begin(), part.end());
  return best;
}

}  // namespace

Maxima maxima(const float* x, int64_t n, const KernelTable& table) {
  Maxima out;
  out.top = kNothing;
  if (n <= 0) return out;
  out.tops.resize(stretches_of(n));
  out.lanes.resize(16 * out.tops.size());
  static_assert(kPiece % kMaximaStretch == 0);
  std::vector<char> fine(pieces_of(n));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    const int64_t stretch = begin / kMaximaStretch;
    fine[begin / kPiece] =
        table.maxima(x + begin, end - begin, out.lanes.data() + 16 * stretch, out.tops.data() + stretch);
  });
  out.below_infinity = std::all_of(fine.begin(), fine.end(), [](char c) { return c != 0; });
  out.top = *std::max_element(out.tops.begin(), out.tops.end());
  return out;
}

int64_t argmax(const float* x, int64_t n, const KernelTable& table) {
  return argmax(x, n, maxima(x, n, table), table);
}

int64_t argmax(const float* x, int64_t n, const Maxima& known, const KernelTable& table) {
  const auto found = std::find(known.tops.begin(), known.tops.end(), known.top);
  if (found == known.tops.end()) return 0;
  const int64_t begin = (found - known.tops.begin()) * kMaximaStretch;
  const int64_t best = begin + table.argmax(x + begin, std::min<int64_t>(kMaximaStretch, n - begin));
  // Where nothing is above -infinity, a NaN may come before the first number.
  return std::isnan(x[best]) ? 0 : best;
}

float log_sum_exp(const float* x, int64_t n, const KernelTable& table) {
  if (n <= 0) return kNothing;
  const float top = x[argmax(x, n, table)];
  if (std::isinf(top)) return top;
  std::vector<double> sums(pieces_of(n));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    sums[begin / kPiece] = table.sum_exp(x + begin, end - begin, top);
  });
  double total = 0;
  for (const double s : sums) total += s;
  return static_cast<float>(top + std::log(total));
}

std::optional<std::vector<int32_t>> indices_above(const float* x, int64_t n, float bound, int64_t most,
                                                  const Maxima& known, const KernelTable& table) {
  // Few stretches have any: those are looked at by one thread, which takes no longer than waking another.
  std::vector<int64_t> stretches;
  for (size_t s = 0; s < known.tops.size(); ++s) {
    if (known.tops[s] > bound) stretches.push_back(static_cast<int64_t>(s) * kMaximaStretch);
  }
  const auto count = static_cast<int64_t>(stretches.size());
  constexpr int64_t kTogether = 128;
  std::vector<std::vector<int32_t>> parts((count + kTogether - 1) / kTogether);
  parallel_for(count, kTogether, [&](int64_t first, int64_t last) {
    std::vector<int32_t>& part = parts[first / kTogether];
    for (int64_t s = first; s < last; ++s) {
      const int64_t begin = stretches[s], length = std::min<int64_t>(kMaximaStretch, n - begin);
      if (static_cast<int64_t>(part.size()) > most) return;
      int32_t found[kMaximaStretch + 16];
      int64_t at = 0;
      const int64_t some = table.above(x + begin, length, bound, &at, found, kMaximaStretch + 16);
      for (int64_t i = 0; i < some; ++i) part.push_back(found[i] + static_cast<int32_t>(begin));
    }
  });
  if (parts.size() == 1 && static_cast<int64_t>(parts[0].size()) <= most) return std::move(parts[0]);
  std::vector<int32_t> out;
  for (const auto& part : parts) {
    if (static_cast<int64_t>(out.size() + part.size()) > most) return {};
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

double Moments::log_sum_exp() const { return shift + std::log(sum); }
// -sum of p log p, with log p = x - shift - log(sum): both parts are positive, so nothing cancels.
double Moments::entropy() const { return std::log(sum) + weighted / sum; }

Moments moments(const float* x, int64_t n, float shift, const KernelTable& table) {
  constexpr int64_t kStretch = 4096;
  Moments out;
  out.shift = shift;
  out.stretches.resize((n + kStretch - 1) / kStretch);
  parallel_for(n, kStretch, [&](int64_t begin, int64_t end) {
    float sums[2];
    table.exp_moments(x + begin, end - begin, shift, sums);
    out.stretches[begin / kStretch] = {begin, end, sums[0], sums[1]};
  });
  for (const ExpSum& stretch : out.stretches) {
    out.sum += stretch.sum;
    out.weighted += stretch.weighted;
  }
  return out;
}

MassHistogram mass_histogram(const float* x, int64_t n, float shift, float center, float scale,
                             const KernelTable& table) {
  std::vector<std::array<float, kHistogramBins>> parts(pieces_of(n));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    auto& bins = parts[begin / kPiece];
    bins.fill(0);
    table.exp_histogram(x + begin, end - begin, shift, center, scale, bins.data());
  });
  MassHistogram out{};
  for (const auto& part : parts) {
    for (int bin = 0; bin < kHistogramBins; ++bin) out[bin] += part[bin];
  }
  return out;
}

int histogram_bin(float x, float center, float scale) {
  return static_cast<int>(std::nearbyint(std::min(std::fabs(x - center) * scale, float{kHistogramBins - 1})));
}

void divide(float* x, int64_t n, float divisor, const KernelTable& table) {
  parallel_for(n, kPiece,
               [&](int64_t begin, int64_t end) { table.divide(x + begin, end - begin, divisor, x + begin); });
}

std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count, const KernelTable& table) {
  return top_n(x, n, count, maxima(x, n, table), table);
}

std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count, const Maxima& known,
                           const KernelTable& table) {
  count = std::min(count, n);
  if (count <= 0) return {};
  // What reaches the bound is hardly more than is wanted, unless there are many ties.
  const float bound = reached_by(count, known);
  std::optional<std::vector<int32_t>> some;
  if (bound > kNothing) {
    some = indices_above(x, n, std::nextafter(bound, kNothing), 2 * count + 4096, known, table);
  }
  std::vector<int32_t> best = some ? std::move(*some) : top_by_stretches(x, n, count, table);
  const int64_t kept = std::min<int64_t>(count, static_cast<int64_t>(best.size()));
  std::nth_element(best.begin(), best.begin() + std::max<int64_t>(0, kept - 1), best.end(), Better{x});
  best.resize(kept);
  std::sort(best.begin(), best.end(), Better{x});
  return best;
}

}  // namespace genkit::kernels

#include "genkit/kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

constexpr int64_t kPiece = 16384;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

int64_t pieces_of(int64_t n) { return (n + kPiece - 1) / kPiece; }

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

}  // namespace

int64_t argmax(const float* x, int64_t n, const KernelTable& table) {
  if (n <= 0) return 0;
  std::vector<int64_t> best(pieces_of(n));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    best[begin / kPiece] = begin + table.argmax(x + begin, end - begin);
  });
  int64_t top = best[0];
  for (const int64_t i : best) {
    if (x[i] > x[top] || (std::isnan(x[top]) && !std::isnan(x[i]))) top = i;
  }
  return std::isnan(x[top]) ? 0 : top;
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

double entropy(const float* x, int64_t n, double norm) {
  const auto shift = static_cast<float>(norm);
  std::vector<double> sums(pieces_of(n));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float logp = x[i] - shift;
      if (logp > kNothing) sum -= static_cast<double>(std::exp(logp)) * logp;
    }
    sums[begin / kPiece] = sum;
  });
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

std::optional<std::vector<int32_t>> indices_above(const float* x, int64_t n, float bound, int64_t most,
                                                  const KernelTable& table) {
  constexpr int64_t kStretch = 4 * kPiece;
  std::vector<std::vector<int32_t>> parts((n + kStretch - 1) / kStretch);
  parallel_for(n, kStretch, [&](int64_t begin, int64_t end) {
    std::vector<int32_t>& part = parts[begin / kStretch];
    const int64_t room = std::min(most + 16, end - begin + 16);
    part.resize(room);
    int64_t at = 0;
    const int64_t found = table.above(x + begin, end - begin, bound, &at, part.data(), room);
    part.resize(at < end - begin ? room : found);  // full: more than `most` in any case
    for (int32_t& index : part) index += static_cast<int32_t>(begin);
  });
  std::vector<int32_t> out;
  for (const auto& part : parts) {
    if (static_cast<int64_t>(out.size() + part.size()) > most) return {};
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

std::vector<ExpSum> exp_sums(const float* x, int64_t n, float shift, const KernelTable& table) {
  constexpr int64_t kStretch = 4096;
  std::vector<ExpSum> out((n + kStretch - 1) / kStretch);
  parallel_for(n, kStretch, [&](int64_t begin, int64_t end) {
    out[begin / kStretch] = {begin, end, table.sum_exp(x + begin, end - begin, shift)};
  });
  return out;
}

std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count, const KernelTable& table) {
  std::vector<int32_t> best;
  count = std::min(count, n);
  if (count <= 0) return best;
  // A stretch a piece would collect `count` from each: with many wanted, fewer and longer ones.
  const int64_t stretch = std::max(4 * kPiece, 8 * count);
  std::vector<std::vector<int32_t>> parts((n + stretch - 1) / stretch);
  parallel_for(n, stretch, [&](int64_t begin, int64_t end) {
    collect(x, begin, end, count, table, parts[begin / stretch]);
  });
  for (const auto& part : parts) best.insert(best.end(), part.begin(), part.end());
  const int64_t kept = std::min<int64_t>(count, static_cast<int64_t>(best.size()));
  std::partial_sort(best.begin(), best.begin() + kept, best.end(), Better{x});
  best.resize(kept);
  return best;
}

}  // namespace genkit::kernels

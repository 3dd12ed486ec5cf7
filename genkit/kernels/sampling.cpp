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

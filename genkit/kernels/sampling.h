#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "genkit/kernels/kernel_table.h"

// Over the logits of a whole vocabulary, without sorting it. NaNs are never chosen. Work is divided into
// pieces that the number of threads does not change.

namespace genkit::kernels {

/// What tells where the large numbers are without another look at all of them.
struct Maxima {
  float top = 0;               ///< the largest; -infinity where there is none
  bool below_infinity = true;  ///< every number; false with a NaN
  std::vector<float> tops;     ///< of stretches of kMaximaStretch
  std::vector<float> lanes;    ///< of each stretch: 16, each of the numbers 16 apart
};
Maxima maxima(const float* x, int64_t n, const KernelTable& table = active_table());

/// Index of the largest of n numbers, the lowest such index; 0 when there is none.
int64_t argmax(const float* x, int64_t n, const KernelTable& table = active_table());
int64_t argmax(const float* x, int64_t n, const Maxima& known, const KernelTable& table = active_table());

/// log(sum(exp(x))); -infinity for nothing or nothing but -infinity.
float log_sum_exp(const float* x, int64_t n, const KernelTable& table = active_table());

/// Indices of the numbers above `bound`, rising; nothing where there are more than `most`.
std::optional<std::vector<int32_t>> indices_above(const float* x, int64_t n, float bound, int64_t most,
                                                  const Maxima& known,
                                                  const KernelTable& table = active_table());

/// A stretch of x, and the sums over it of exp(x - shift) and of exp(x - shift) (shift - x).
struct ExpSum {
  int64_t begin, end;
  double sum, weighted;
};
/// Of softmax(x).
struct Moments {
  float shift = 0;
  double sum = 0, weighted = 0;   ///< of all stretches
  std::vector<ExpSum> stretches;  ///< of 4096, rising
  double log_sum_exp() const;
  double entropy() const;  ///< in nats
};
/// @param shift the largest of x, finite.
Moments moments(const float* x, int64_t n, float shift, const KernelTable& table = active_table());

/// Sums of exp(x - shift) by the distance of x from `center`: bin round(|x - center| * scale), the last one
/// for all beyond. The sums are fp32 within 16,384 numbers.
using MassHistogram = std::array<double, kHistogramBins>;
MassHistogram mass_histogram(const float* x, int64_t n, float shift, float center, float scale,
                             const KernelTable& table = active_table());
/// The bin of one number.
int histogram_bin(float x, float center, float scale);

/// x / divisor in place, rounded as one division is.
void divide(float* x, int64_t n, float divisor, const KernelTable& table = active_table());

/// Indices of the `count` largest numbers above -infinity, largest first, ties by rising index;
/// fewer when there are fewer.
std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count,
                           const KernelTable& table = active_table());
std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count, const Maxima& known,
                           const KernelTable& table = active_table());

}  // namespace genkit::kernels

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "genkit/kernels/kernel_table.h"

// Over the logits of a whole vocabulary, without sorting it. NaNs are never chosen.

namespace genkit::kernels {

/// Index of the largest of n numbers, the lowest such index; 0 when there is none.
int64_t argmax(const float* x, int64_t n, const KernelTable& table = active_table());

/// log(sum(exp(x))); -infinity for nothing or nothing but -infinity.
float log_sum_exp(const float* x, int64_t n, const KernelTable& table = active_table());

/// Entropy of softmax(x) in nats. @param norm log_sum_exp of x, finite.
double entropy(const float* x, int64_t n, double norm);

/// Indices of the numbers above `bound`, rising; nothing where there are more than `most`.
std::optional<std::vector<int32_t>> indices_above(const float* x, int64_t n, float bound, int64_t most,
                                                  const KernelTable& table = active_table());

/// A stretch of x, and the sum of exp(x - shift) over it.
struct ExpSum {
  int64_t begin, end;
  double sum;
};
/// x in stretches of 4096 that rise.
std::vector<ExpSum> exp_sums(const float* x, int64_t n, float shift,
                             const KernelTable& table = active_table());

/// Indices of the `count` largest numbers above -infinity, largest first, ties by rising index;
/// fewer when there are fewer.
std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count,
                           const KernelTable& table = active_table());

}  // namespace genkit::kernels

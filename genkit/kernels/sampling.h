#pragma once

#include <cstdint>
#include <vector>

#include "genkit/kernels/kernel_table.h"

// Over the logits of a whole vocabulary, without sorting it. NaNs are never chosen.

namespace genkit::kernels {

/// Index of the largest of n numbers, the lowest such index; 0 when there is none.
int64_t argmax(const float* x, int64_t n, const KernelTable& table = active_table());

/// log(sum(exp(x))); -infinity for nothing or nothing but -infinity.
float log_sum_exp(const float* x, int64_t n, const KernelTable& table = active_table());

/// Indices of the `count` largest numbers above -infinity, largest first, ties by rising index;
/// fewer when there are fewer.
std::vector<int32_t> top_n(const float* x, int64_t n, int64_t count,
                           const KernelTable& table = active_table());

}  // namespace genkit::kernels

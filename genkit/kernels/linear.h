#pragma once

#include <cstdint>
#include <vector>

#include "genkit/kernels/kernel_table.h"

namespace genkit::kernels {

class PanelCache;

/// How a product is computed. The quantised formats alone have the others.
enum class Product : uint8_t { kF32, kInt8, kFast };

/// One product of a set that shares its input.
struct LinearTarget {
  WeightRows weight;
  int64_t out = 0;              ///< rows of the weight
  const float* bias = nullptr;  ///< [out], or null
  float* y = nullptr;           ///< [rows, out]
  Product product = Product::kF32;
  PanelCache* cache = nullptr;  ///< where the weight's panels are kept, or null
};

/// y_i = x w_i^T + bias_i for every target, on the threads of the pool. The bits of a row of y
/// depend neither on the other rows nor on the number of threads.
/// @param x [rows, in]; every weight has the same `in`.
void linear(const float* x, int64_t rows, int64_t in, const std::vector<LinearTarget>& targets,
            const KernelTable& table = active_table());

struct ExpertTask {
  const float* x = nullptr;  ///< [tokens, in], or with one row a choice [tokens, choices, in]
  bool row_a_choice = false;
  int64_t tokens = 0, choices = 0;
  const int32_t* experts = nullptr;  ///< [tokens, choices], each within the stack
  WeightRows weight;                 ///< of all experts, one after another
  int64_t num_experts = 0, out = 0;  ///< rows of each
  const float* bias = nullptr;       ///< [experts, out], or null
  float* y = nullptr;                ///< [tokens, choices, out]
  Product product = Product::kF32;
  PanelCache* cache = nullptr;  ///< of the whole stack
};
/// y[t, c] = x w[experts[t, c]]^T + bias: every expert's rows together, with the bits of linear().
void expert_linear(const ExpertTask& task, const KernelTable& table = active_table());

/// Rows `ids` of a weight in fp32, or its first `count` rows when `ids` is null. @param out [count, in].
void take_rows(const WeightRows& w, const int32_t* ids, int64_t count, float* out,
               const KernelTable& table = active_table());

/// Memory of the calling thread, at least `bytes`, reused by the next call; contents are lost.
/// Slots let one kernel hold several at once.
void* scratch(size_t bytes, int slot = 0);

}  // namespace genkit::kernels

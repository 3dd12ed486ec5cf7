#pragma once

#include <cstdint>

#include "genkit/kernels/kernel_table.h"

// Element-wise kernels and norms on the threads of the pool; everything fp32.

namespace genkit::kernels {

struct NormParams {
  const float* weight = nullptr;  ///< [n], or null
  const float* bias = nullptr;    ///< [n], or null; layer norm only
  float eps = 0;
  float offset = 0;  ///< added to the weight
};

/// x and out [rows, n].
void rms_norm(const float* x, int64_t rows, int64_t n, const NormParams& p, float* out,
              const KernelTable& table = active_table());
void layer_norm(const float* x, int64_t rows, int64_t n, const NormParams& p, float* out,
                const KernelTable& table = active_table());

/// sum = residual + y, or residual + rms_norm(y, *post); normed = rms_norm(sum, norm).
void residual_rms_norm(const float* residual, const float* y, int64_t rows, int64_t n, const NormParams* post,
                       const NormParams& norm, float* sum, float* normed,
                       const KernelTable& table = active_table());

struct RopeTask {
  int64_t tokens = 0, heads = 0, dim = 0;
  const float* inv_freq = nullptr;  ///< [half_dims]
  int64_t half_dims = 0;
  const int32_t* positions = nullptr;  ///< [tokens]
  float scaling = 1;                   ///< of cos and sin
  bool interleaved = false;
};
/// x and out [tokens, heads, dim].
void rope(const float* x, const RopeTask& task, float* out, const KernelTable& table = active_table());

/// activation(x) * up; up may be null.
void activate(ActivationKind kind, const float* x, const float* up, int64_t n, float* out,
              const KernelTable& table = active_table());
void softcap(const float* x, int64_t n, float cap, float* out, const KernelTable& table = active_table());

}  // namespace genkit::kernels

#pragma once

#include <cstdint>

#include "genkit/kernels/kernel_table.h"

// Rope in two steps, for callers that rotate many heads of many layers at the same positions: the
// angles once, then the rotations. Together the bits of rope() in layers.h.

namespace genkit::kernels {

/// cos and sin of positions[t] * inv_freq[i], times `scaling`. @param cosines and sines
/// [tokens, half_dims].
void rope_angles(const int32_t* positions, int64_t tokens, const float* inv_freq, int64_t half_dims,
                 float scaling, float* cosines, float* sines);

struct Rotation {
  int64_t tokens = 0, heads = 0, dim = 0;
  int64_t half_dims = 0;           ///< the first 2 * half_dims numbers of a head turn
  const float* cosines = nullptr;  ///< [tokens, half_dims]
  const float* sines = nullptr;
  bool interleaved = false;
};
/// x and out [tokens, heads, dim]; they may be the same.
void rotate(const float* x, const Rotation& r, float* out, const KernelTable& table = active_table());

}  // namespace genkit::kernels

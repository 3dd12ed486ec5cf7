#pragma once

#include <cstddef>
#include <cstdint>

#include "genkit/kernels/weight_format.h"

namespace genkit {

/// Bytes of a row of `values` numbers.
/// @throws ArgumentError when the row is no whole number of blocks, is negative, overflows, or the
///         format is kAffine (its size depends on bits and group; @see AffineRow).
size_t row_bytes(WeightFormat format, int64_t values);

/// Numbers of a row in fp32. The scalar reference that every faster kernel is held against: each
/// number is the format's formula evaluated in fp32 in ggml's order, without fused operations.
/// @param row    `row_bytes(format, values)` bytes at any address.
/// @param values a multiple of the format's block.
/// @param out    `values` numbers.
/// @throws ArgumentError as row_bytes.
/// @source ggml-quants.c, dequantize_row_*; OCP Microscaling Formats 1.0 for MXFP4.
void dequantize_row(WeightFormat format, const void* row, int64_t values, float* out);

/// One row of an MLX affine matrix: number i is scale[i / group_size] * q_i + bias[i / group_size],
/// where q_i are the `bits` bits from bit i * bits on, lowest bits of the first byte first.
struct AffineRow {
  const void* words = nullptr;                     ///< values * bits / 8 bytes at any address
  const void* scales = nullptr;                    ///< values / group_size numbers of scale_format
  const void* biases = nullptr;                    ///< the same
  WeightFormat scale_format = WeightFormat::kF32;  ///< kF32, kF16 or kBF16
  int bits = 4;                                    ///< 2, 3, 4, 5, 6 or 8
  int group_size = 64;                             ///< 32, 64 or 128
};

/// @param values a multiple of the group size.
/// @throws ArgumentError naming the field that is out of range.
/// @source mlx 0.32 affine_dequantize. MLX computes in the scales' dtype; here it is always fp32.
void dequantize_affine_row(const AffineRow& row, int64_t values, float* out);

}  // namespace genkit

#pragma once

#include <cstdint>

// Changes of rows along a direction, on the threads of the pool; everything fp32. One plain body: the
// compiler's vectors reach the memory's speed, and the bits are the same on every instruction set.

namespace genkit::kernels {

enum class SteerKind : uint8_t { kAdd, kAddKeepNorm, kProject, kAblate };  ///< @see ops::SteerOp

struct SteerTask {
  SteerKind kind = SteerKind::kAdd;
  const float* direction = nullptr;     ///< [n]
  const float* coefficients = nullptr;  ///< [rows]; 0: the row is left as it is
  bool relative = false;                ///< the coefficient is multiplied by the row's length
  const float* condition = nullptr;     ///< [n] of length 1, or null
  float threshold = 0;
  bool below = false;
};

/// Does the tasks one after another to each row of x [rows, n]. `out` may be x.
void steer(const float* x, int64_t rows, int64_t n, const SteerTask* tasks, int64_t count, float* out);

}  // namespace genkit::kernels

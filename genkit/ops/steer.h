#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace genkit::ops {

namespace mx = mlx::core;

/// What a step does to a row x with its direction v and coefficient a.
enum class SteerOp : uint8_t {
  kAdd,          ///< x + a v
  kAddKeepNorm,  ///< x + a v, scaled to the length of x
  kProject,      ///< x + a ((x.v) v - x), v of length 1
  kAblate,       ///< x - a (x.v) v, v of length 1
};

/// One change of the rows of x.
struct SteerStep {
  SteerOp op = SteerOp::kAdd;
  mx::array direction = mx::array(0.0f);  ///< [n] float32
  std::vector<float> coefficients;        ///< one a row; a row with 0 is left as it is, bit by bit
  bool relative = false;                  ///< the coefficient counts in lengths of the row
  std::optional<mx::array> condition;     ///< [n] float32 of length 1: act where cos(x, it) > threshold
  float threshold = 0;
  bool below = false;  ///< where it is < threshold instead
};

/// The steps on every row of x, in their order, as one graph node. Products and sums are rounded one by
/// one, as in x + (a * v); lengths and dot products are summed in fp32, 16 lanes, then double.
/// @param x [rows, n] float32.
/// @return  [rows, n] float32; x itself where no row has a coefficient.
/// @throws ArgumentError where shapes do not fit.
mx::array steer(const mx::array& x, const std::vector<SteerStep>& steps);

}  // namespace genkit::ops

#pragma once

#include <gtest/gtest.h>
#include <mlx/array.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace genkit::ops::testing {

namespace mx = mlx::core;

inline std::vector<float> random_numbers(size_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(engine);
  return numbers;
}

inline mx::array random_array(const mx::Shape& shape, uint32_t seed, float scale = 1.0f) {
  size_t count = 1;
  for (const int n : shape) count *= n;
  const auto numbers = random_numbers(count, seed, scale);
  return mx::array(numbers.begin(), shape, mx::float32);
}

inline std::vector<float> values(mx::array a) {
  a = mx::contiguous(mx::astype(a, mx::float32));
  a.eval();
  return {a.data<float>(), a.data<float>() + a.size()};
}

/// Largest |a - b|, infinity where shapes or NaNs differ.
inline double max_difference(const mx::array& a, const mx::array& b) {
  if (a.shape() != b.shape()) return INFINITY;
  const auto left = values(a), right = values(b);
  double worst = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    if (std::isnan(left[i]) != std::isnan(right[i])) return INFINITY;
    worst = std::max(worst, std::abs(double{left[i]} - right[i]));
  }
  return worst;
}

/// The message that `action` throws; empty when it throws nothing.
template <class Exception, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Exception& e) {
    return e.what();
  }
  return "";
}

}  // namespace genkit::ops::testing

#include "genkit/ops/steer.h"

#include <gtest/gtest.h>
#include <mlx/transforms.h>

#include <cmath>
#include <cstring>

#include "genkit/base/error.h"
#include "genkit/base/thread_pool.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using testing::max_difference;
using testing::random_array;

constexpr SteerOp kOps[] = {SteerOp::kAdd, SteerOp::kAddKeepNorm, SteerOp::kProject, SteerOp::kAblate};

mx::array unit(const mx::array& v) { return mx::divide(v, mx::sqrt(mx::sum(mx::square(v)))); }

SteerStep step(SteerOp op, int n, std::vector<float> coefficients, int seed = 7) {
  SteerStep s;
  s.op = op;
  s.direction = unit(random_array({n}, seed));
  s.coefficients = std::move(coefficients);
  return s;
}

std::vector<double> numbers(const mx::array& given) {
  mx::array x = mx::contiguous(mx::astype(given, mx::float32));
  x.eval();
  return {x.data<float>(), x.data<float>() + x.size()};
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The definition, in double precision.
std::vector<double> reference(const SteerStep& s, double a, const std::vector<double>& x) {
  const std::vector<double> v = numbers(s.direction);
  const double length = std::sqrt(dot(x, x));
  if (s.condition) {
    const double cosine = dot(x, numbers(*s.condition)) / length;
    if (!(s.below ? cosine < s.threshold : cosine > s.threshold)) return x;
  }
  if (s.relative) a *= length;
  std::vector<double> y = x;
  const double along = dot(x, v);
  for (size_t i = 0; i < x.size(); ++i) {
    switch (s.op) {
      case SteerOp::kAdd:
      case SteerOp::kAddKeepNorm:
        y[i] = x[i] + a * v[i];
        break;
      case SteerOp::kProject:
        y[i] = (1 - a) * x[i] + a * along * v[i];
        break;
      case SteerOp::kAblate:
        y[i] = x[i] - a * along * v[i];
        break;
    }
  }
  if (s.op == SteerOp::kAddKeepNorm) {
    const double scale = length / std::sqrt(dot(y, y));
    for (double& value : y) value *= scale;
  }
  return y;
}

TEST(Steer, DoesWhatItsDefinitionSays) {
  for (const int n : {1, 3, 16, 77, 640}) {
    const mx::array x = random_array({4, n}, 1);
    for (const SteerOp op : kOps) {
      for (const bool relative : {false, true}) {
        SteerStep s = step(op, n, {1.5f, 0.0f, -0.25f, 1.0f});
        s.relative = relative && (op == SteerOp::kAdd || op == SteerOp::kAddKeepNorm);
        const std::vector<double> got = numbers(steer(x, {s})), in = numbers(x);
        for (int row = 0; row < 4; ++row) {
          const std::vector<double> want =
              reference(s, s.coefficients[row], {in.begin() + row * n, in.begin() + (row + 1) * n});
          // Numbers below 8 and some eight roundings of 2^-24 each: 3.8e-6.
          for (int i = 0; i < n; ++i) EXPECT_NEAR(got[row * n + i], want[i], 4e-6) << n << " " << int(op);
        }
      }
    }
  }
}

TEST(Steer, ActsWhereTheConditionIsMet) {
  const int n = 40;
  const mx::array x = random_array({64, n}, 3);
  for (const bool below : {false, true}) {
    SteerStep s = step(SteerOp::kAdd, n, std::vector<float>(64, 2.0f));
    s.condition = unit(random_array({n}, 9));
    s.threshold = 0.05f;
    s.below = below;
    const std::vector<double> got = numbers(steer(x, {s})), in = numbers(x);
    int changed = 0;
    for (int row = 0; row < 64; ++row) {
      const std::vector<double> from(in.begin() + row * n, in.begin() + (row + 1) * n);
      const std::vector<double> want = reference(s, 2.0, from);
      changed += want != from;
      for (int i = 0; i < n; ++i) EXPECT_NEAR(got[row * n + i], want[i], 4e-6);
    }
    EXPECT_GT(changed, 10);
    EXPECT_LT(changed, 54);
  }
}

TEST(Steer, SeveralStepsAreOneAfterAnother) {
  const mx::array x = random_array({3, 50}, 1);
  std::vector<SteerStep> steps;
  mx::array one_by_one = x;
  for (const SteerOp op : kOps) {
    steps.push_back(step(op, 50, {0.5f, 0.0f, 2.0f}, static_cast<int>(op) + 20));
    one_by_one = steer(one_by_one, {steps.back()});
  }
  EXPECT_EQ(max_difference(steer(x, steps), one_by_one), 0);
}

TEST(Steer, AZeroCoefficientLeavesEveryBit) {
  // A minus zero plus 0 * v would become plus zero, and an infinity of v a NaN.
  const float values[] = {-0.0f, 1e-45f, 3.0f, -2.5f};
  const mx::array x(values, {1, 4}, mx::float32);
  SteerStep s;
  const float infinite[] = {1, INFINITY, 1, 1};
  s.direction = mx::array(infinite, {4}, mx::float32);
  s.coefficients = {0.0f};
  EXPECT_EQ(steer(x, {s}).id(), x.id());  // not even a node
  SteerStep other = step(SteerOp::kAdd, 4, {1.0f, 0.0f});
  const float two_rows[] = {1, 2, 3, 4, -0.0f, 1e-45f, 3.0f, -2.5f};
  mx::array y = steer(mx::array(two_rows, {2, 4}, mx::float32), {other});
  y.eval();
  EXPECT_EQ(std::memcmp(y.data<float>() + 4, values, sizeof(values)), 0);
}

TEST(Steer, OneLongRowIsTheSameOnAnyNumberOfThreads) {
  const int n = 100003;
  const mx::array x = random_array({1, n}, 1);
  const std::vector<SteerStep> steps = {step(SteerOp::kAdd, n, {3.0f}, 2),
                                        step(SteerOp::kAdd, n, {-1.0f}, 3)};
  const mx::array want = mx::add(mx::add(x, mx::multiply(steps[0].direction, mx::array(3.0f))),
                                 mx::multiply(steps[1].direction, mx::array(-1.0f)));
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    EXPECT_EQ(max_difference(steer(x, steps), want), 0) << threads;
  }
  set_num_threads(before);
}

TEST(Steer, HasTheGradientOfItsDefinition) {
  const int n = 12;
  const mx::array x = random_array({2, n}, 1), weights = random_array({2, n}, 5);
  for (const SteerOp op : kOps) {
    const SteerStep base = step(op, n, {0.7f, -0.4f});
    const auto loss = [&](const std::vector<mx::array>& in) {
      SteerStep s = base;
      s.direction = in[1];
      return std::vector<mx::array>{mx::sum(mx::multiply(steer(in[0], {s}), weights))};
    };
    const std::vector<mx::array> at = {x, base.direction};
    const auto gradients = mx::vjp(loss, at, {mx::array(1.0f)}).second;
    for (size_t input = 0; input < at.size(); ++input) {
      const std::vector<double> gradient = numbers(gradients[input]);
      for (size_t i = 0; i < at[input].size(); i += 5) {
        const float h = 1e-2f;
        std::vector<float> bump(at[input].size(), 0.0f);
        bump[i] = h;
        const mx::array d(bump.data(), at[input].shape(), mx::float32);
        std::vector<mx::array> up = at, down = at;
        up[input] = mx::add(at[input], d);
        down[input] = mx::subtract(at[input], d);
        const double slope = (numbers(loss(up)[0])[0] - numbers(loss(down)[0])[0]) / (2 * h);
        // Central differences of fp32 sums near 10: 1e-6 / 1e-2, and h^2 of the third derivative.
        EXPECT_NEAR(gradient[i], slope, 2e-3) << int(op) << " input " << input << " at " << i;
      }
    }
  }
}

TEST(Steer, RefusesWhatDoesNotFit) {
  const auto message = [](const mx::array& x, const SteerStep& s) -> std::string {
    try {
      steer(x, {s});
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_EQ(message(random_array({2, 5}, 1), step(SteerOp::kAdd, 4, {1, 1})),
            "steer: a direction of shape [4] does not fit rows of 5");
  EXPECT_EQ(message(random_array({2, 4}, 1), step(SteerOp::kAdd, 4, {1})),
            "steer: 1 coefficients for 2 rows");
  EXPECT_EQ(message(random_array({4}, 1), step(SteerOp::kAdd, 4, {1})),
            "steer: expected x [rows, n], got [4]");
  SteerStep s = step(SteerOp::kAdd, 4, {1, 1});
  s.condition = random_array({3}, 1);
  EXPECT_EQ(message(random_array({2, 4}, 1), s), "steer: a condition of shape [3] does not fit rows of 4");
}

}  // namespace
}  // namespace genkit::ops

#include "genkit/ops/linear.h"

#include <gtest/gtest.h>

#include "genkit/ops/composed.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using testing::max_difference;
using testing::random_array;

Weight dense(const mx::Shape& shape, uint32_t seed, WeightFormat format = WeightFormat::kF32) {
  const mx::Dtype dtype = format == WeightFormat::kF16    ? mx::float16
                          : format == WeightFormat::kBF16 ? mx::bfloat16
                                                          : mx::float32;
  return {.name = "w",
          .format = format,
          .shape = shape,
          .data = mx::astype(random_array(shape, seed, 0.1f), dtype)};
}

Weight affine(int out, int in, int bits, uint32_t seed) {
  auto parts = mx::quantize(random_array({out, in}, seed, 0.1f), 64, bits);
  return {.name = "w",
          .format = WeightFormat::kAffine,
          .shape = {out, in},
          .data = parts[0],
          .scales = parts[1],
          .biases = parts[2],
          .bits = bits,
          .group_size = 64,
          .arithmetic = Arithmetic::kExact};
}

// Sums of 128 products of size 0.1; measured at most 4e-7.
constexpr double kTolerance = 2e-6;

TEST(Linear, EqualsTheComposedForm) {
  const auto x = random_array({5, 128}, 1), bias = random_array({9}, 2);
  for (const Weight& w :
       {dense({9, 128}, 3), dense({9, 128}, 3, WeightFormat::kF16), dense({9, 128}, 3, WeightFormat::kBF16),
        affine(9, 128, 4, 3), affine(9, 128, 8, 3), affine(9, 128, 6, 3)}) {
    EXPECT_LT(max_difference(linear(x, w, bias), composed::linear(x, composed::dequantize(w), bias)),
              kTolerance);
    EXPECT_LT(max_difference(linear(x, w), composed::linear(x, composed::dequantize(w), {})), kTolerance);
  }
}

TEST(Linear, FastArithmeticIsNearTheExactOne) {
  const auto x = random_array({3, 256}, 1);
  Weight w = affine(16, 256, 4, 2);
  const auto exact = linear(x, w);
  w.arithmetic = Arithmetic::kFast;
  const double difference = max_difference(linear(x, w), exact);
  EXPECT_GT(difference, 0);     // the activations are rounded
  EXPECT_LT(difference, 0.03);  // to 8 bits: about 0.4% of products of size 1.6
}

TEST(Linear, ManyEqualOneByOneAndTakeViews) {
  const auto wide = random_array({4, 200}, 1);
  const auto x = mx::slice(wide, {0, 10}, {4, 138});  // not contiguous
  const Weight a = dense({7, 128}, 2), b = affine(12, 128, 4, 3);
  const auto bias = random_array({12}, 4);
  const auto many = linear_many(x, {&a, &b}, {std::nullopt, bias});
  EXPECT_EQ(max_difference(many[0], linear(x, a)), 0);
  EXPECT_EQ(max_difference(many[1], linear(mx::contiguous(x), b, bias)), 0);
}

TEST(Linear, TakesNoRowsAndWeightsThatAreViews) {
  const Weight a = dense({7, 12}, 2);
  EXPECT_EQ(linear(mx::zeros({0, 12}), a).shape(), (mx::Shape{0, 7}));
  Weight t = a;
  t.shape = {12, 7};
  t.data = mx::transpose(a.data);
  const auto x = random_array({2, 7}, 5);
  EXPECT_LT(max_difference(linear(x, t), mx::matmul(x, a.data)), kTolerance);
}

TEST(Linear, HasTheGradientOfTheComposedForm) {
  const Weight w = affine(6, 64, 4, 3);
  const auto x = random_array({3, 64}, 1), out = random_array({3, 6}, 2);
  auto loss = [&](bool own) {
    return [&, own](const mx::array& in) {
      return mx::sum(
          mx::multiply(out, own ? linear(in, w) : composed::linear(in, composed::dequantize(w), {})));
    };
  };
  EXPECT_LT(max_difference(mx::grad(loss(true))(x), mx::grad(loss(false))(x)), kTolerance);
  const Weight d = dense({6, 64}, 4);
  auto of_weight = [&](const mx::array& data) {
    Weight moved = d;
    moved.data = data;
    return mx::sum(mx::multiply(out, linear(x, moved)));
  };
  EXPECT_LT(max_difference(mx::grad(of_weight)(d.data), mx::matmul(mx::transpose(out), x)), kTolerance);
}

TEST(ExpertLinear, MultipliesByTheChosenMatrices) {
  const Weight w = dense({3, 5, 16}, 1);
  const auto x = random_array({2, 16}, 2), bias = random_array({3, 5}, 3);
  const mx::array experts({2, 0, 1, 2}, {2, 2}, mx::int32);
  const auto y = expert_linear(x, experts, w, bias);
  for (int t = 0; t < 2; ++t) {
    for (int c = 0; c < 2; ++c) {
      const int e = std::vector<int>{2, 0, 1, 2}[t * 2 + c];
      const auto expected =
          mx::add(mx::matmul(mx::take(x, t, 0), mx::transpose(mx::take(w.data, e, 0))), mx::take(bias, e, 0));
      EXPECT_LT(max_difference(mx::take(mx::take(y, t, 0), c, 0), expected), kTolerance);
    }
  }
}

}  // namespace
}  // namespace genkit::ops

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

// Sums of 128 products; measured at most 9.6e-7 between the kernels and MLX, on AVX-512.
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
  const Weight whole = dense({3, 5, 64}, 1);
  Weight packed = affine(15, 64, 4, 1);
  packed.shape = {3, 5, 64};
  packed.data = mx::reshape(packed.data, {3, 5, -1});
  packed.scales = mx::reshape(*packed.scales, {3, 5, -1});
  packed.biases = mx::reshape(*packed.biases, {3, 5, -1});
  const auto bias = random_array({3, 5}, 3);
  const mx::array experts({2, 0, 1, 2, 2, 1}, {3, 2}, mx::int32);
  for (const Weight& w : {whole, packed}) {
    for (const auto& x : {random_array({3, 64}, 2), random_array({3, 2, 64}, 2)}) {
      const auto y = expert_linear(x, experts, w, bias);
      EXPECT_LT(max_difference(y, composed::expert_linear(x, experts, dequantize(w), bias)), kTolerance);
      EXPECT_LT(max_difference(expert_linear(x, experts, w),
                               composed::expert_linear(x, experts, dequantize(w), {})),
                kTolerance);
      // Choice (1, 0) is expert 1: the same bits as that matrix alone.
      if (x.ndim() == 2) {
        Weight one = w;
        one.shape = {5, 64};
        one.data = mx::take(w.data, 1, 0);
        if (w.scales) one.scales = mx::take(*w.scales, 1, 0), one.biases = mx::take(*w.biases, 1, 0);
        const auto row = linear(mx::slice(x, {1, 0}, {2, 64}), one, mx::take(bias, 1, 0));
        EXPECT_EQ(max_difference(mx::reshape(row, {5}), mx::take(mx::take(y, 1, 0), 0, 0)), 0);
      }
    }
  }
  EXPECT_EQ(testing::message_of<std::runtime_error>([&] {
              expert_linear(random_array({1, 64}, 2), mx::array({3}, {1, 1}, mx::int32), whole).eval();
            }),
            "w: expert 3 lies outside its 3");
}

}  // namespace
}  // namespace genkit::ops

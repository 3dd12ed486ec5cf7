#include "genkit/ops/layers.h"

#include <gtest/gtest.h>

#include "genkit/base/error.h"
#include "genkit/ops/composed.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using testing::max_difference;
using testing::random_array;

// Results of size up to 12 in fp32; measured at most 2.9e-6 between the kernels and MLX's operators.
// How near each is to the truth is measured in tests/kernels/layers_test.cpp.
constexpr double kTolerance = 6e-6;

TEST(RmsNorm, EqualsTheComposedForm) {
  for (const int n : {1, 7, 16, 64, 641}) {
    const auto x = random_array({5, n}, 1), w = random_array({n}, 2);
    EXPECT_LT(max_difference(rms_norm(x, w, 1e-6f, 1.0f), composed::rms_norm(x, w, 1e-6f, 1.0f)), kTolerance)
        << n;
    EXPECT_LT(max_difference(rms_norm(x, {}, 1e-5f), composed::rms_norm(x, {}, 1e-5f, 0)), kTolerance) << n;
  }
  // Heads of a projection: three dimensions, not contiguous, half precision.
  const auto x = mx::astype(mx::transpose(random_array({4, 3, 32}, 3), {1, 0, 2}), mx::float16);
  const auto y = rms_norm(x, random_array({32}, 4), 1e-6f);
  EXPECT_EQ(y.dtype(), mx::float16);
  EXPECT_LT(max_difference(y, composed::rms_norm(x, random_array({32}, 4), 1e-6f, 0)),
            4e-3);  // one step of fp16 near 4
}

TEST(ResidualRmsNorm, IsTheSameAsItsSteps) {
  const auto r = random_array({5, 100}, 1), y = random_array({5, 100}, 2), post = random_array({100}, 3),
             w = random_array({100}, 4);
  for (const bool with_post : {false, true}) {
    const auto p = with_post ? std::optional(post) : std::nullopt;
    const auto [sum, normed] = residual_rms_norm(r, y, p, w, 1e-6f, 1.0f);
    const auto expected = mx::add(r, p ? rms_norm(y, p, 1e-6f, 1.0f) : y);
    EXPECT_EQ(max_difference(sum, expected), 0);
    EXPECT_EQ(max_difference(normed, rms_norm(expected, w, 1e-6f, 1.0f)), 0);
  }
}

TEST(LayerNorm, EqualsTheComposedForm) {
  // MLX adds up the 640 numbers near 5 one after another; measured 1.3e-5.
  constexpr double kMeanTolerance = 3e-5;
  for (const int n : {2, 16, 77, 640}) {
    const auto x = mx::add(random_array({3, n}, 1), mx::array(5.0f)), w = random_array({n}, 2),
               b = random_array({n}, 3);
    EXPECT_LT(max_difference(layer_norm(x, w, b, 1e-5f), composed::layer_norm(x, w, b, 1e-5f)),
              kMeanTolerance)
        << n;
    EXPECT_LT(max_difference(layer_norm(x, {}, {}, 1e-5f), composed::layer_norm(x, {}, {}, 1e-5f)),
              kMeanTolerance)
        << n;
  }
}

TEST(Rope, EqualsTheComposedFormInBothLayouts) {
  const mx::array positions({0, 1, 17, 4000}, mx::int32);
  for (const int half : {8, 12, 20}) {
    for (const bool interleaved : {false, true}) {
      const auto x = random_array({4, 3, 40}, 1);
      std::vector<float> freq;
      for (int i = 0; i < half; ++i) freq.push_back(std::pow(10000.0f, -float(i) / half));
      RopeParams params;
      params.inv_freq = mx::array(freq.begin(), {half}, mx::float32);
      params.attention_scaling = 1.25f;
      params.interleaved = interleaved;
      // MLX's own sine is off by up to 4e-4 near 4000; ours is the C library's.
      EXPECT_LT(max_difference(rope(x, positions, params), composed::rope(x, positions, params)), 1e-3)
          << half;
      const mx::array near({0, 1, 2, 9}, mx::int32);
      EXPECT_LT(max_difference(rope(x, near, params), composed::rope(x, near, params)), kTolerance) << half;
    }
  }
}

TEST(Activations, EqualTheComposedForm) {
  const auto x = random_array({3, 333}, 1, 3.0f), up = random_array({3, 333}, 2);
  for (const Activation a : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu,
                             Activation::kQuickGelu, Activation::kIdentity}) {
    EXPECT_LT(max_difference(activate(x, a), composed::activate(x, a)), kTolerance) << int(a);
    EXPECT_LT(max_difference(gated_activation(x, up, a), mx::multiply(composed::activate(x, a), up)),
              2 * kTolerance)
        << int(a);
  }
  EXPECT_LT(max_difference(softcap(x, 5.0f), composed::softcap(x, 5.0f)), kTolerance);
}

TEST(Layers, HaveTheGradientsOfTheComposedForms) {
  const auto x = random_array({4, 24}, 1), w = random_array({24}, 2), out = random_array({4, 24}, 3);
  auto compare = [&](auto own, auto composed) {
    auto of = [&](auto f) {
      return [&, f](const mx::array& in) { return mx::sum(mx::multiply(out, f(in))); };
    };
    EXPECT_LT(max_difference(mx::grad(of(own))(x), mx::grad(of(composed))(x)), 1e-5);
  };
  compare([&](const mx::array& in) { return rms_norm(in, w, 1e-6f); },
          [&](const mx::array& in) { return composed::rms_norm(in, w, 1e-6f, 0); });
  compare(
      [&](const mx::array& in) { return gated_activation(in, out, Activation::kGeluTanh); },
      [&](const mx::array& in) { return mx::multiply(composed::activate(in, Activation::kGeluTanh), out); });
  compare([&](const mx::array& in) { return residual_rms_norm(in, out, w, w, 1e-6f).second; },
          [&](const mx::array& in) {
            return composed::rms_norm(mx::add(in, composed::rms_norm(out, w, 1e-6f, 0)), w, 1e-6f, 0);
          });
}

TEST(Layers, SayWhatDoesNotFit) {
  const auto x = mx::zeros({2, 3, 8});
  EXPECT_EQ(testing::message_of<ArgumentError>([&] { rms_norm(x, mx::zeros({7}), 1e-6f); }),
            "rms_norm: parameters of shape [7] do not fit an input of shape [2, 3, 8]");
  RopeParams params;
  params.inv_freq = mx::zeros({5});
  EXPECT_EQ(testing::message_of<ArgumentError>([&] {
              rope(x, mx::array({0, 1}, mx::int32), params);
            }),
            "rope: frequencies of shape [5] do not fit heads of 8");
  EXPECT_EQ(testing::message_of<ArgumentError>([&] { softcap(x, 0.0f); }),
            "softcap: expected a positive cap, got 0");
}

}  // namespace
}  // namespace genkit::ops

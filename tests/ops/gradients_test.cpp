// Gradients of the operations, against those of their composed forms and against finite differences.

#include <gtest/gtest.h>

#include <functional>

#include "genkit/base/error.h"
#include "genkit/ops/attention.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/linear.h"
#include "genkit/ops/loss.h"
#include "genkit/ops/routing.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using Arrays = std::vector<mx::array>;
using Function = std::function<Arrays(const Arrays&)>;
using testing::max_difference;
using testing::message_of;
using testing::random_array;
using testing::values;

double largest(const mx::array& a) {
  double worst = 0;
  for (const float x : values(a)) worst = std::max(worst, std::abs(double{x}));
  return worst;
}

/// Holds gradients of `op` against those through `composed`, relative to the largest entry. Both sum
/// up to a few hundred products of numbers near 1 in fp32; measured at most 4e-6.
void expect_same_gradients(const Function& op, const Function& composed, const Arrays& inputs,
                           double tolerance = 2e-5) {
  Arrays cotangents;
  uint32_t seed = 77;
  for (const auto& y : op(inputs)) cotangents.push_back(random_array(y.shape(), ++seed));
  const auto got = mx::vjp(op, inputs, cotangents).second;
  const auto expected = mx::vjp(composed, inputs, cotangents).second;
  ASSERT_EQ(got.size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_EQ(got[i].dtype(), inputs[i].dtype());
    EXPECT_GT(largest(expected[i]), 0) << i;
    EXPECT_LE(max_difference(got[i], expected[i]), tolerance * std::max(1.0, largest(expected[i]))) << i;
  }
}

/// Along the gradient, the sum of the outputs' products with fixed numbers changes by its length.
void expect_finite_differences(const Function& op, const Arrays& inputs, double tolerance = 1e-2) {
  const auto weighted = [&](const Arrays& in) -> Arrays {
    mx::array sum(0.0f);
    uint32_t seed = 55;
    for (const auto& y : op(in))
      sum = mx::add(sum, mx::sum(mx::multiply(y, random_array(y.shape(), ++seed))));
    return {sum};
  };
  const auto gradients = mx::vjp(weighted, inputs, {mx::array(1.0f)}).second;
  double squares = 0;
  for (const auto& g : gradients) {
    for (const float x : values(g)) squares += double{x} * x;
  }
  const double norm = std::sqrt(squares);
  ASSERT_GT(norm, 0);
  constexpr float kStep = 0.02f;
  const auto at = [&](float step) {
    Arrays moved;
    for (size_t i = 0; i < inputs.size(); ++i)
      moved.push_back(
          mx::add(inputs[i], mx::multiply(gradients[i], mx::array(step / static_cast<float>(norm)))));
    return double{weighted(moved)[0].item<float>()};
  };
  EXPECT_NEAR((at(kStep) - at(-kStep)) / (2.0 * kStep), norm, tolerance * norm);
}

void expect_gradients(const Function& op, const Function& composed, const Arrays& inputs) {
  expect_same_gradients(op, composed, inputs);
  expect_finite_differences(op, inputs);
}

Weight dense(const mx::array& data) {
  Weight w;
  w.name = "w";
  w.shape = data.shape();
  w.data = data;
  if (data.dtype() == mx::bfloat16) w.format = WeightFormat::kBF16;
  if (data.dtype() == mx::float16) w.format = WeightFormat::kF16;
  return w;
}

Weight quantized(int out, int in, int seed) {
  const auto parts = mx::quantize(random_array({out, in}, seed), 32, 4);
  Weight w;
  w.name = "w";
  w.format = WeightFormat::kAffine;
  w.shape = {out, in};
  w.data = parts[0];
  w.scales = parts[1];
  w.biases = parts[2];
  w.bits = 4;
  w.group_size = 32;
  w.arithmetic = Arithmetic::kExact;
  return w;
}

TEST(Gradients, RmsNorm) {
  for (const int n : {1, 16, 77}) {
    const auto op = [](const Arrays& in) -> Arrays { return {rms_norm(in[0], in[1], 1e-5f, 1.0f)}; };
    const auto composed = [](const Arrays& in) -> Arrays {
      return {composed::rms_norm(in[0], in[1], 1e-5f, 1.0f)};
    };
    // More rows than are added up in one piece.
    expect_same_gradients(op, composed, {random_array({70, n}, 1), random_array({n}, 2)});
  }
  const auto bare = [](const Arrays& in) -> Arrays { return {rms_norm(in[0], {}, 1e-5f)}; };
  expect_gradients(bare, [](const Arrays& in) -> Arrays { return {composed::rms_norm(in[0], {}, 1e-5f, 0)}; },
                   {random_array({3, 2, 24}, 1)});
}

TEST(Gradients, LayerNorm) {
  const auto op = [](const Arrays& in) -> Arrays { return {layer_norm(in[0], in[1], in[2], 1e-5f)}; };
  const auto composed = [](const Arrays& in) -> Arrays {
    return {composed::layer_norm(in[0], in[1], in[2], 1e-5f)};
  };
  expect_gradients(op, composed, {random_array({40, 33}, 1), random_array({33}, 2), random_array({33}, 3)});
}

TEST(Gradients, ResidualRmsNorm) {
  const auto op = [](const Arrays& in) -> Arrays {
    const auto [sum, normed] = residual_rms_norm(in[0], in[1], in[2], in[3], 1e-5f, 1.0f);
    return {sum, normed};
  };
  const auto composed = [](const Arrays& in) -> Arrays {
    const auto sum = mx::add(in[0], composed::rms_norm(in[1], in[2], 1e-5f, 1.0f));
    return {sum, composed::rms_norm(sum, in[3], 1e-5f, 1.0f)};
  };
  expect_gradients(
      op, composed,
      {random_array({5, 20}, 1), random_array({5, 20}, 2), random_array({20}, 3), random_array({20}, 4)});
}

TEST(Gradients, Rope) {
  for (const bool interleaved : {false, true}) {
    RopeParams params;
    params.inv_freq = mx::array({1.0f, 0.3f, 0.01f});
    params.attention_scaling = 1.3f;
    params.interleaved = interleaved;
    const mx::array positions({0, 3, 500}, mx::int32);
    expect_gradients([&](const Arrays& in) -> Arrays { return {rope(in[0], positions, params)}; },
                     [&](const Arrays& in) -> Arrays { return {composed::rope(in[0], positions, params)}; },
                     {random_array({3, 2, 9}, 1)});
  }
}

TEST(Gradients, Activations) {
  for (const auto kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu,
                          Activation::kQuickGelu}) {
    expect_same_gradients([&](const Arrays& in) -> Arrays { return {activate(in[0], kind)}; },
                          [&](const Arrays& in) -> Arrays { return {composed::activate(in[0], kind)}; },
                          {random_array({7, 33}, 1, 3.0f)});
    expect_same_gradients(
        [&](const Arrays& in) -> Arrays { return {gated_activation(in[0], in[1], kind)}; },
        [&](const Arrays& in) -> Arrays { return {mx::multiply(composed::activate(in[0], kind), in[1])}; },
        {random_array({7, 33}, 1, 3.0f), random_array({7, 33}, 2)});
  }
  expect_gradients([](const Arrays& in) -> Arrays { return {softcap(in[0], 2.0f)}; },
                   [](const Arrays& in) -> Arrays { return {composed::softcap(in[0], 2.0f)}; },
                   {random_array({5, 9}, 1, 2.0f)});
}

TEST(Gradients, LinearOfDenseWeights) {
  // More outputs than are turned round at a time.
  for (const int out : {5, 2100}) {
    const auto op = [](const Arrays& in) -> Arrays { return {linear(in[0], dense(in[1]), in[2])}; };
    const auto composed = [](const Arrays& in) -> Arrays { return {composed::linear(in[0], in[1], in[2])}; };
    expect_same_gradients(
        op, composed, {random_array({9, 33}, 1), random_array({out, 33}, 2), random_array({out}, 3)}, 1e-4);
  }
  const auto two = [](const Arrays& in) -> Arrays {
    const Weight a = dense(in[1]), b = dense(in[2]);
    return linear_many(in[0], {&a, &b}, {in[3], std::nullopt});
  };
  const auto two_composed = [](const Arrays& in) -> Arrays {
    return {composed::linear(in[0], in[1], in[3]), composed::linear(in[0], in[2], {})};
  };
  expect_gradients(
      two, two_composed,
      {random_array({4, 20}, 1), random_array({6, 20}, 2), random_array({3, 20}, 3), random_array({6}, 4)});
}

TEST(Gradients, LinearOfHalfPrecisionWeights) {
  for (const auto dtype : {mx::bfloat16, mx::float16}) {
    const auto x = random_array({4, 40}, 1);
    const auto w = mx::astype(random_array({7, 40}, 2), dtype), d = random_array({4, 7}, 3);
    const auto op = [](const Arrays& in) -> Arrays { return {linear(in[0], dense(in[1]), {})}; };
    const auto got = mx::vjp(op, {x, w}, {d}).second;
    const auto wide = mx::astype(w, mx::float32);
    const auto expected =
        mx::vjp([](const Arrays& in) -> Arrays { return {composed::linear(in[0], in[1], {})}; }, {x, wide},
                {d})
            .second;
    EXPECT_LE(max_difference(got[0], expected[0]), 1e-5);
    // The weight's gradient has the weight's dtype: rounding it is all that differs.
    EXPECT_EQ(got[1].dtype(), dtype);
    EXPECT_LE(max_difference(got[1], mx::astype(expected[1], dtype)), 0.04);
  }
}

TEST(Gradients, LinearOfQuantisedWeightsWithRespectToTheInput) {
  const Weight w = quantized(70, 64, 2);
  const auto x = random_array({5, 64}, 1);
  const auto numbers = dequantize(w);
  expect_gradients([&](const Arrays& in) -> Arrays { return {linear(in[0], w, {})}; },
                   [&](const Arrays& in) -> Arrays { return {composed::linear(in[0], numbers, {})}; }, {x});
}

TEST(Gradients, QuantisedWeightsHaveNone) {
  const Weight w = quantized(32, 64, 2);
  const auto x = random_array({5, 64}, 1);
  const auto of_scales = [&](const Arrays& in) -> Arrays {
    Weight moved = w;
    moved.scales = in[0];
    return {linear(x, moved, {})};
  };
  EXPECT_EQ(message_of<ArgumentError>([&] {
              mx::vjp(of_scales, {*w.scales}, {random_array({5, 32}, 3)});
            }),
            "linear: a quantised weight: has no gradient");
}

TEST(Gradients, Embedding) {
  const mx::array ids({4, 0, 4, 2}, mx::int32);
  const auto op = [&](const Arrays& in) -> Arrays { return {embedding(ids, dense(in[0]))}; };
  const auto composed = [&](const Arrays& in) -> Arrays { return {mx::take(in[0], ids, 0)}; };
  expect_gradients(op, composed, {random_array({6, 70}, 1)});
}

TEST(Gradients, ExpertLinear) {
  // Expert 3 is never chosen: its gradient is zero.
  const mx::array experts({0, 2, 1, 0, 2, 1}, {3, 2}, mx::int32);
  const auto op = [&](const Arrays& in) -> Arrays {
    return {expert_linear(in[0], experts, dense(in[1]), in[2])};
  };
  const auto composed = [&](const Arrays& in) -> Arrays {
    return {composed::expert_linear(in[0], experts, in[1], in[2])};
  };
  for (const mx::Shape& shape : {mx::Shape{3, 12}, mx::Shape{3, 2, 12}})
    expect_gradients(op, composed,
                     {random_array(shape, 1), random_array({4, 5, 12}, 2), random_array({4, 5}, 3)});
}

TEST(Gradients, Routing) {
  const auto logits = random_array({6, 5}, 1);
  for (const bool normalize : {false, true}) {
    const auto op = [&](const Arrays& in) -> Arrays {
      return {mix_experts(in[1], route(in[0], 2, normalize).weights)};
    };
    const auto composed = [&](const Arrays& in) -> Arrays {
      return {composed::mix_experts(in[1], composed::route(in[0], 2, normalize)[1])};
    };
    expect_same_gradients(op, composed, {logits, random_array({6, 2, 7}, 2)});
    const Routes routes = route(logits, 2, normalize);
    const auto expected = composed::route(logits, 2, normalize);
    EXPECT_EQ(max_difference(routes.experts, expected[0]), 0);
    EXPECT_LE(max_difference(routes.weights, expected[1]), 1e-6);
  }
  // Equal probabilities: the lower number first.
  const Routes ties = route(mx::zeros({1, 4}), 3, true);
  EXPECT_EQ(values(ties.experts), (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(message_of<ArgumentError>([&] { route(logits, 6, true); }),
            "route: cannot choose 6 of the experts of logits of shape [6, 5]");
}

TEST(Gradients, Attention) {
  AttentionParams p;
  p.heads = 4;
  p.kv_heads = 2;
  p.head_dim = 6;
  p.value_dim = 5;
  p.scale = 0.4f;
  const std::vector<int> lengths = {70, 3};  // more queries than are taken at a time
  const std::vector<AttentionRow> rows = {{70, 0, nullptr}, {3, 0, nullptr}};
  const Arrays inputs = {random_array({73, 4, 6}, 1), random_array({73, 2, 6}, 2),
                         random_array({73, 2, 5}, 3)};
  for (const int window : {0, 9}) {
    for (const float softcap : {0.0f, 1.5f}) {
      p.window = window;
      p.softcap = softcap;
      const auto op = [&](const Arrays& in) -> Arrays { return {attention(in[0], in[1], in[2], rows, p)}; };
      const auto composed = [&](const Arrays& in) -> Arrays {
        return {composed::attention(in[0], in[1], in[2], lengths, p)};
      };
      expect_gradients(op, composed, inputs);
      // Queries of the last tokens alone.
      const std::vector<AttentionRow> some = {{70, 0, nullptr, 2}, {3, 0, nullptr, 3}};
      const auto last = [&](const mx::array& a) { return mx::slice(a, {68, 0, 0}, a.shape()); };
      expect_gradients(
          [&](const Arrays& in) -> Arrays { return {attention(last(in[0]), in[1], in[2], some, p)}; },
          [&](const Arrays& in) -> Arrays { return {last(composed(in)[0])}; }, inputs);
    }
  }
}

TEST(Gradients, CrossEntropyAndLogSoftmax) {
  const mx::array targets({3, -1, 0, 40}, mx::int32);
  const auto logits = random_array({4, 41}, 1, 3.0f);
  expect_gradients([&](const Arrays& in) -> Arrays { return {cross_entropy(in[0], targets)}; },
                   [&](const Arrays& in) -> Arrays { return {composed::cross_entropy(in[0], targets)}; },
                   {logits});
  EXPECT_LE(max_difference(cross_entropy(logits, targets), composed::cross_entropy(logits, targets)), 2e-6);
  EXPECT_EQ(values(cross_entropy(logits, targets))[1], 0);
  expect_gradients([](const Arrays& in) -> Arrays { return {log_softmax(in[0])}; },
                   [](const Arrays& in) -> Arrays { return {composed::log_softmax(in[0])}; }, {logits});
  EXPECT_LE(max_difference(log_softmax(logits), composed::log_softmax(logits)), 4e-6);
  EXPECT_EQ(message_of<ArgumentError>([&] {
              cross_entropy(logits, mx::array({3, 41, 0, 0}, mx::int32));
            }),
            "cross_entropy: target 41 lies outside a vocabulary of 41");
  EXPECT_EQ(message_of<ArgumentError>([&] {
              cross_entropy(logits, mx::array({3, 4}, mx::int32));
            }),
            "cross_entropy: expected logits [tokens, vocab] and int32 targets [tokens], got [4, 41] and [2]");
}

}  // namespace
}  // namespace genkit::ops

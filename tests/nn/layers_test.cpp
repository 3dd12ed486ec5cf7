#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include <cmath>

#include "genkit/base/error.h"
#include "genkit/nn/block.h"

namespace genkit::nn {
namespace {

mx::array random(mx::Shape shape, int seed) {
  return mx::random::normal(shape, mx::float32, mx::random::key(seed));
}

ops::Weight weight(const mx::array& data) {
  ops::Weight w;
  w.name = "w";
  w.shape = data.shape();
  w.data = data;
  return w;
}

Linear linear(int out, int in, int seed) {
  return {weight(random({out, in}, seed)), random({out}, seed + 100)};
}

double max_difference(const mx::array& a, const mx::array& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return mx::max(mx::abs(mx::subtract(a, b))).item<float>();
}

TEST(Norm, WeightPerHeadScalesEachHead) {
  const mx::array x = random({3, 2, 8}, 1), w = random({2, 8}, 2);
  for (const auto kind : {Norm::Kind::kRms, Norm::Kind::kLayer}) {
    const mx::array y = Norm{kind, w, std::nullopt, 1e-5f, 0.0f}(x);
    for (int head = 0; head < 2; ++head) {
      const Norm one{kind, mx::take(w, head, 0), std::nullopt, 1e-5f, 0.0f};
      EXPECT_LT(max_difference(mx::take(y, head, 1), one(mx::take(x, head, 1))), 1e-6);
    }
  }
}

TEST(Mlp, FusedGateEqualsSeparate) {
  const Linear gate = linear(6, 4, 1), up = linear(6, 4, 2), down = linear(4, 6, 3);
  const Linear both{weight(mx::concatenate({gate.weight.data, up.weight.data}, 0)),
                    mx::concatenate({*gate.bias, *up.bias}, 0)};
  const mx::array x = random({5, 4}, 4);
  const mx::array separate = GatedMlp{gate, up, down, ops::Activation::kSilu}(x);
  EXPECT_EQ(max_difference(gated_mlp_of_pair(both, down, ops::Activation::kSilu)(x), separate), 0);
}

/// The definition, one token and one expert at a time.
std::vector<float> moe_reference(const MoeMlp& moe, const mx::array& x, int token) {
  const int experts = moe.gate.shape[0];
  const mx::array row = mx::slice(x, {token, 0}, {token + 1, x.shape(1)});
  mx::array scores = mx::softmax(moe.router(row), -1, true);
  scores.eval();
  std::vector<std::pair<float, int>> ranked;
  for (int e = 0; e < experts; ++e) ranked.push_back({-scores.data<float>()[e], e});
  std::sort(ranked.begin(), ranked.end());
  float sum = 0.0f;
  for (int c = 0; c < moe.experts_per_token; ++c) sum -= ranked[c].first;
  mx::array total = mx::zeros({1, x.shape(1)});
  for (int c = 0; c < moe.experts_per_token; ++c) {
    const int e = ranked[c].second;
    const auto of = [&](const ops::Weight& w) {
      return Linear{weight(mx::take(w.data, e, 0)), std::nullopt};
    };
    const mx::array y = GatedMlp{of(moe.gate), of(moe.up), of(moe.down), moe.activation}(row);
    const float share = -ranked[c].first / (moe.normalize ? sum : 1.0f);
    total = mx::add(total, mx::multiply(y, mx::array(share)));
  }
  total.eval();
  return {total.data<float>(), total.data<float>() + total.size()};
}

TEST(Mlp, ExpertsEqualTheDefinition) {
  for (const bool normalize : {false, true}) {
    const MoeMlp moe{{weight(random({5, 4}, 1)), std::nullopt},
                     weight(random({5, 6, 4}, 2)),
                     weight(random({5, 6, 4}, 3)),
                     weight(random({5, 4, 6}, 4)),
                     2,
                     normalize,
                     ops::Activation::kSilu};
    const mx::array x = random({7, 4}, 5);
    mx::array y = mx::contiguous(moe(x));
    y.eval();
    for (int token = 0; token < 7; ++token) {
      const std::vector<float> expected = moe_reference(moe, x, token);
      for (int i = 0; i < 4; ++i) EXPECT_NEAR(y.data<float>()[token * 4 + i], expected[i], 1e-4);
    }
  }
}

TEST(Mlp, ActivationNames) {
  EXPECT_EQ(activation_from_name("gelu_new"), ops::Activation::kGeluTanh);
  EXPECT_EQ(activation_from_name("gelu"), ops::Activation::kGelu);
  try {
    activation_from_name("softplus");
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "hidden_act: unknown activation \"softplus\"");
  }
}

Attention plain_attention() {
  Attention a;
  a.params.heads = 4;
  a.params.kv_heads = 2;
  a.params.head_dim = a.params.value_dim = 8;
  a.params.scale = 0.3f;
  a.qkv = {linear(32, 16, 1), linear(16, 16, 2), linear(16, 16, 3)};
  a.out = linear(16, 32, 4);
  config::RopeConfig rope;
  rope.dims = 8;
  a.rope = std::make_shared<const Rope>(rope, false);
  return a;
}

AttentionContext context_of(const std::vector<int>& lengths) {
  AttentionContext context;
  context.rows.resize(1);
  std::vector<int32_t> ids;
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) ids.push_back(i);
    context.positions.spans.push_back({length, 0, 0});
    context.rows[0].push_back({length, 0, nullptr});
  }
  context.positions.ids = mx::array(ids.begin(), mx::Shape{static_cast<int>(ids.size())}, mx::int32);
  return context;
}

TEST(Attention, FusedLayoutsEqualSeparate) {
  Attention separate = plain_attention();
  const AttentionContext context = context_of({5, 3});
  const mx::array x = random({8, 16}, 9);
  Attention blocks = separate;
  const auto& p = separate.qkv;
  const Linear all = {weight(mx::concatenate({p[0].weight.data, p[1].weight.data, p[2].weight.data}, 0)),
                      mx::concatenate({*p[0].bias, *p[1].bias, *p[2].bias}, 0)};
  blocks.qkv = {all.outputs(0, 32), all.outputs(32, 48), all.outputs(48, 64)};
  EXPECT_EQ(max_difference(blocks(x, context), separate(x, context)), 0);

  // By heads: as many key heads as query heads.
  separate.params.kv_heads = 4;
  separate.qkv = {linear(32, 16, 1), linear(32, 16, 2), linear(32, 16, 3)};
  Attention heads = separate;
  heads.layout = QkvLayout::kFusedHeads;
  std::vector<mx::array> weights, biases;
  for (const Linear& l : separate.qkv) {
    weights.push_back(mx::reshape(l.weight.data, {4, 1, 8, 16}));
    biases.push_back(mx::reshape(*l.bias, {4, 1, 8}));
  }
  heads.qkv = {{weight(mx::reshape(mx::concatenate(weights, 1), {96, 16})),
                mx::reshape(mx::concatenate(biases, 1), {96})}};
  EXPECT_LT(max_difference(heads(x, context), separate(x, context)), 1e-5);
}

TEST(Attention, NormsOfHeadAndOfWholeProjectionDiffer) {
  Attention a = plain_attention();
  const AttentionContext context = context_of({6});
  const mx::array x = random({6, 16}, 9);
  const mx::array none = a(x, context);
  a.qk_norm = QkNorm::kHead;
  a.q_norm = a.k_norm = Norm{Norm::Kind::kRms, mx::ones({8}), std::nullopt, 1e-6f, 0.0f};
  const mx::array head = a(x, context);
  a.qk_norm = QkNorm::kWhole;
  a.q_norm = Norm{Norm::Kind::kRms, mx::ones({32}), std::nullopt, 1e-6f, 0.0f};
  a.k_norm = Norm{Norm::Kind::kRms, mx::ones({16}), std::nullopt, 1e-6f, 0.0f};
  const mx::array whole = a(x, context);
  EXPECT_GT(max_difference(none, head), 1e-3);
  EXPECT_GT(max_difference(head, whole), 1e-3);
}

TEST(Attention, WithoutRopeTheOrderOfEarlierTokensDoesNotMatter) {
  Attention a = plain_attention();
  const AttentionContext context = context_of({3});
  const mx::array x = random({3, 16}, 9);
  const mx::array swapped = mx::take(x, mx::array({1, 0, 2}), 0);
  const auto last = [](const mx::array& y) { return mx::take(y, 2, 0); };
  EXPECT_GT(max_difference(last(a(x, context)), last(a(swapped, context))), 1e-3);
  a.rope = nullptr;
  EXPECT_LT(max_difference(last(a(x, context)), last(a(swapped, context))), 1e-5);
}

}  // namespace
}  // namespace genkit::nn

#include "genkit/ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "genkit/base/error.h"
#include "genkit/ops/composed.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using testing::message_of;
using testing::random_array;

struct Case {
  std::string name;
  AttentionParams params;
};

std::vector<Case> cases() {
  return {
      {"plain", {.heads = 4, .kv_heads = 4, .head_dim = 16, .value_dim = 16, .scale = 0.25f}},
      {"grouped, window",
       {.heads = 8, .kv_heads = 2, .head_dim = 24, .value_dim = 24, .scale = 0.2f, .window = 9}},
      {"softcap, other values",
       {.heads = 2,
        .kv_heads = 1,
        .head_dim = 20,
        .value_dim = 12,
        .scale = 0.3f,
        .softcap = 2.0f,
        .window = 70}},
  };
}

KvShape shape_of(const AttentionParams& p, KvType type = KvType::kF32) {
  return {p.kv_heads, p.head_dim, p.value_dim, p.window, type};
}

mx::array part(const mx::array& a, int from, int to) {
  return mx::slice(a, {from, 0, 0}, {to, a.shape(1), a.shape(2)});
}

// Measured at most 6e-7 on these cases; both sides round at each step of fp32.
constexpr double kTolerance = 2.5e-6;

TEST(Attention, OverAStoreEqualsTheComposedFormHoweverThePromptIsCut) {
  for (const auto& [name, p] : cases()) {
    const int tokens = 150;
    const auto q = random_array({tokens, p.heads, p.head_dim}, 1),
               k = random_array({tokens, p.kv_heads, p.head_dim}, 2),
               v = random_array({tokens, p.kv_heads, p.value_dim}, 3);
    const auto expected = composed::attention(q, k, v, {tokens}, p);
    std::vector<mx::array> whole;
    for (const std::vector<int>& cuts :
         {std::vector<int>{0, 150}, {0, 1, 2, 70, 133, 150}, {0, 64, 128, 150}}) {
      const auto store = std::make_shared<KvStore>(shape_of(p));
      std::vector<mx::array> parts;
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        const std::vector<AttentionRow> row = {{cuts[i + 1] - cuts[i], cuts[i], store}};
        parts.push_back(attention(part(q, cuts[i], cuts[i + 1]), part(k, cuts[i], cuts[i + 1]),
                                  part(v, cuts[i], cuts[i + 1]), row, p));
        parts.back().eval();
      }
      whole.push_back(mx::concatenate(parts, 0));
      EXPECT_LT(testing::max_difference(whole.back(), expected), kTolerance) << name;
      EXPECT_EQ(testing::max_difference(whole.back(), whole.front()), 0) << name;
    }
  }
}

TEST(Attention, RaggedRowsDoNotSeeEachOther) {
  for (const auto& [name, p] : cases()) {
    const std::vector<int> lengths = {5, 1, 90};
    const auto q = random_array({96, p.heads, p.head_dim}, 4),
               k = random_array({96, p.kv_heads, p.head_dim}, 5),
               v = random_array({96, p.kv_heads, p.value_dim}, 6);
    std::vector<AttentionRow> rows, no_store;
    for (const int length : lengths) {
      rows.push_back({length, 0, std::make_shared<KvStore>(shape_of(p))});
      no_store.push_back({length, 0, nullptr});
    }
    const auto expected = composed::attention(q, k, v, lengths, p);
    EXPECT_LT(testing::max_difference(attention(q, k, v, rows, p), expected), kTolerance) << name;
    EXPECT_LT(testing::max_difference(attention(q, k, v, no_store, p), expected), kTolerance) << name;
  }
}

/// What a bounded row's queries see, written out: softmax over the named positions, in double.
mx::array bounded_reference(const mx::array& q, const mx::array& k, const mx::array& v,
                            const AttentionParams& p, const KvBound& bound) {
  const int tokens = q.shape(0), group = p.heads / p.kv_heads;
  for (const mx::array& a : {q, k, v}) mx::array(a).eval();
  std::vector<float> out;
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < p.heads; ++h) {
      const float* query = q.data<float>() + (t * p.heads + h) * p.head_dim;
      std::vector<double> sums(p.value_dim, 0.0);
      double norm = 0;
      for (int j = 0; j <= t; ++j) {
        const bool seen = t < bound.max_size || j < bound.sinks || j > t - (bound.max_size - bound.sinks);
        if (!seen) continue;
        const int row = j * p.kv_heads + h / group;
        double score = 0;
        for (int d = 0; d < p.head_dim; ++d)
          score += double{query[d]} * k.data<float>()[row * p.head_dim + d];
        score *= p.scale;
        if (p.softcap > 0) score = std::tanh(score / p.softcap) * p.softcap;
        const double weight = std::exp(score);
        norm += weight;
        for (int d = 0; d < p.value_dim; ++d) sums[d] += weight * v.data<float>()[row * p.value_dim + d];
      }
      for (const double sum : sums) out.push_back(static_cast<float>(sum / norm));
    }
  }
  return mx::array(out.begin(), mx::Shape{tokens, p.heads, p.value_dim}, mx::float32);
}

TEST(Attention, ABoundedRowSeesItsFirstAndItsNewestPositionsHoweverItIsCut) {
  const int tokens = 700;
  for (const auto& [name, with_window] : cases()) {
    AttentionParams p = with_window;
    p.window = 0;
    const auto q = random_array({tokens, p.heads, p.head_dim}, 11),
               k = random_array({tokens, p.kv_heads, p.head_dim}, 12),
               v = random_array({tokens, p.kv_heads, p.value_dim}, 13);
    for (const KvBound& bound : {KvBound{7, 3}, KvBound{1, 0}, KvBound{200, 130}, KvBound{650, 600}}) {
      const auto expected = bounded_reference(q, k, v, p, bound);
      std::vector<mx::array> whole;
      for (const std::vector<int>& cuts :
           {std::vector<int>{0, 700}, {0, 6, 7, 8, 9, 63, 64, 65, 190, 333, 334, 650, 651, 700}}) {
        const auto store = std::make_shared<KvStore>(shape_of(p), bound);
        std::vector<mx::array> parts;
        for (size_t i = 0; i + 1 < cuts.size(); ++i) {
          store->trim(0);
          const std::vector<AttentionRow> row = {{cuts[i + 1] - cuts[i], cuts[i], store}};
          parts.push_back(attention(part(q, cuts[i], cuts[i + 1]), part(k, cuts[i], cuts[i + 1]),
                                    part(v, cuts[i], cuts[i + 1]), row, p));
          parts.back().eval();
        }
        store->trim(0);
        const size_t page = 4 * KvPage::kPageTokens * p.kv_heads * (p.head_dim + p.value_dim);
        EXPECT_LE(store->bytes(), (bound.max_size / KvPage::kPageTokens + 3) * page) << name;
        whole.push_back(mx::concatenate(parts, 0));
        EXPECT_LT(testing::max_difference(whole.back(), expected), kTolerance)
            << name << ", " << bound.max_size << " with " << bound.sinks;
        EXPECT_EQ(testing::max_difference(whole.back(), whole.front()), 0)
            << name << ", " << bound.max_size << " with " << bound.sinks;
      }
    }
  }
}

TEST(Attention, ABoundedRowAndItsNeighboursDoNotMeet) {
  const AttentionParams p = cases()[0].params;
  const auto q = random_array({300, p.heads, p.head_dim}, 14),
             k = random_array({300, p.kv_heads, p.head_dim}, 15),
             v = random_array({300, p.kv_heads, p.value_dim}, 16);
  const KvBound bound{20, 4};
  const auto store = [&](const KvBound& b) { return std::make_shared<KvStore>(shape_of(p), b); };
  const auto both = attention(q, k, v, {{100, 0, store(bound)}, {200, 0, store({})}}, p);
  const auto first =
      attention(part(q, 0, 100), part(k, 0, 100), part(v, 0, 100), {{100, 0, store(bound)}}, p);
  const auto second =
      attention(part(q, 100, 300), part(k, 100, 300), part(v, 100, 300), {{200, 0, store({})}}, p);
  EXPECT_EQ(testing::max_difference(both, mx::concatenate({first, second}, 0)), 0);
}

TEST(Attention, RefusesWhatDoesNotAddUp) {
  const AttentionParams p = cases()[0].params;
  const auto q = mx::zeros({3, 4, 16});
  EXPECT_EQ(message_of<ArgumentError>([&] {
              attention(q, q, q, {{2, 0, nullptr}}, p);
            }),
            "attention: rows of 2 tokens in all, queries of 3");
  EXPECT_EQ(message_of<ArgumentError>([&] {
              attention(q, mx::zeros({3, 2, 16}), q, {{3, 0, nullptr}}, p);
            }),
            "attention: expected k of shape [3, 4, 16], got [3, 2, 16]");
  const auto store = std::make_shared<KvStore>(shape_of(p));
  EXPECT_EQ(message_of<std::runtime_error>([&] {
              attention(q, q, q, {{3, 7, store}}, p).eval();
            }),
            "attention: the cache holds 0 positions, the row starts at 7");
}

}  // namespace
}  // namespace genkit::ops

// What a forward pass and a step of training are made of on the CPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

#include "genkit/ops/loss.h"
#include "tests/models/golden_model.h"
#include "tests/models/graph_nodes.h"

namespace genkit::test {
namespace {

using models::LogitsFor;
using ::testing::IsEmpty;

std::vector<int32_t> some_tokens(int count) {
  std::vector<int32_t> ids(count);
  for (int i = 0; i < count; ++i) ids[i] = 5 + 7 * i % 40;  // the smallest vocabulary has 48
  return ids;
}

/// The nodes' names, to be told apart from MLX's by the operations tests/models/graph_nodes.h lists.
TEST(GraphNodes, FindsTheOperationsItLooksFor) {
  const mx::array x = mx::random::normal({4, 4});
  EXPECT_THAT(slow_nodes({mx::softmax(mx::matmul(x, x), -1)}),
              ::testing::UnorderedElementsAre("Matmul", "Softmax"));
  EXPECT_THAT(slow_nodes({mx::argsort(x, -1)}), ::testing::ElementsAre("ArgSort"));
  EXPECT_THAT(slow_nodes({mx::sort(x, -1)}), ::testing::ElementsAre("Sort"));
  EXPECT_THAT(slow_nodes({mx::argpartition(x, 1, -1)}), ::testing::ElementsAre("ArgPartition"));
  EXPECT_THAT(slow_nodes({mx::logsumexp(x, -1)}), ::testing::ElementsAre("LogSumExp"));
  const auto quantized = mx::quantize(mx::random::normal({32, 64}), 32, 4);
  EXPECT_THAT(slow_nodes({mx::quantized_matmul(mx::random::normal({2, 64}), quantized[0], quantized[1],
                                               quantized[2], true, 32, 4)}),
              ::testing::Contains("QuantizedMatmul"));
}

class Graph : public ::testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override { model_ = load(GetParam()); }

  /// A pass over a row of its own with embeddings in place of tokens.
  mx::array logits_of(const mx::array& embeddings, LogitsFor wanted, bool hidden) const {
    models::ForwardInput input;
    input.embeddings = embeddings;
    input.rows = {{.length = embeddings.shape(0)}};
    input.logits = wanted;
    input.hidden = hidden;
    return *model_->forward(input).logits;
  }

  mx::array random_embeddings(int tokens) const {
    return mx::random::normal({tokens, model_->config().hidden_size}, mx::float32, mx::random::key(3));
  }

  std::unique_ptr<models::Model> model_;
};

// Nodes outside the blocks: embedding, its scale and learned positions, norm, head, scale and cap.
constexpr int kOutside = 8;

TEST_P(Graph, BlocksAreOneNode) {
  cache::KvCache cache = model_->make_cache();
  const int slot = cache.add_row();
  for (const auto& ids : {some_tokens(11), some_tokens(1)}) {
    models::ForwardInput input = packed({ids}, LogitsFor::kLast);
    input.rows[0].slot = slot;
    const mx::array logits = *model_->forward(input, &cache).logits;
    const auto nodes = graph_nodes({logits});
    EXPECT_EQ(nodes.count("genkit::Blocks"), 1u);
    EXPECT_LE(count_nodes({logits}), 1 + kOutside) << ::testing::PrintToString(nodes);
    EXPECT_THAT(slow_nodes({logits}), IsEmpty());
    mx::array(logits).eval();
  }
}

TEST_P(Graph, AHookBetweenBlocksCostsANodeABlock) {
  models::ForwardInput input = packed({some_tokens(9)}, LogitsFor::kLast);
  Recorder recorder;
  const mx::array logits = *model_->forward(input, nullptr, {&recorder}).logits;
  EXPECT_EQ(graph_nodes({logits}).at("genkit::Blocks"), model_->components().num_blocks);
  EXPECT_LE(count_nodes({logits}), model_->components().num_blocks + kOutside);
}

// A pass that is differentiated goes step by step.
TEST_P(Graph, StepsGiveTheBitsOfOneNode) {
  const mx::array x = random_embeddings(21);
  for (const bool hidden : {true, false}) {
    const auto run = [&](const std::vector<mx::array>& in) {
      return std::vector<mx::array>{logits_of(in[0], LogitsFor::kLast, hidden)};
    };
    const mx::array fused = run({x})[0];
    EXPECT_EQ(graph_nodes({fused}).count("genkit::Blocks"), 1u);
    const mx::array steps = mx::vjp(run, {x}, {mx::ones(fused.shape())}).first[0];
    EXPECT_EQ(graph_nodes({steps}).count("genkit::Blocks"), 0u);
    EXPECT_EQ(max_difference(fused, steps), 0.0);
  }
}

TEST_P(Graph, TokensNobodyAsksForAreLeftOutOfTheLastBlock) {
  const auto a = some_tokens(19), b = some_tokens(6);
  for (const int of_a : {0, 1, 4, 19}) {
    for (const int of_b : {0, 1, 6}) {
      if (of_a + of_b == 0) continue;
      models::ForwardInput input = packed({a, b}, LogitsFor::kPerRow);
      input.rows[0].logits = of_a;
      input.rows[1].logits = of_b;
      const mx::array whole = *model_->forward(input).logits;
      input.hidden = false;
      const models::ForwardOutput part = model_->forward(input);
      EXPECT_EQ(max_difference(*part.logits, whole), 0.0);
      if (of_a + of_b < 25) {
        EXPECT_EQ(part.hidden.shape(0), of_a + of_b);
      }
    }
  }
}

TEST_P(Graph, ACacheFilledWithoutLogitsGoesOnAlike) {
  const auto ids = some_tokens(17);
  mx::array last[] = {mx::array(0.0f), mx::array(0.0f)};
  for (const bool hidden : {true, false}) {
    cache::KvCache cache = model_->make_cache();
    const int slot = cache.add_row();
    models::ForwardInput first = packed({{ids.begin(), ids.begin() + 9}}, LogitsFor::kNone);
    first.rows[0].slot = slot;
    first.rows[0].rope_length = 17;
    first.hidden = hidden;
    const mx::array states = model_->forward(first, &cache).hidden;
    EXPECT_EQ(states.shape(0), hidden ? 9 : 0);
    mx::array(states).eval();
    models::ForwardInput second = packed({{ids.begin() + 9, ids.end()}}, LogitsFor::kLast);
    second.rows[0].slot = slot;
    second.rows[0].rope_length = 17;
    last[hidden] = *model_->forward(second, &cache).logits;
    last[hidden].eval();
  }
  EXPECT_EQ(max_difference(last[0], last[1]), 0.0);
}

TEST_P(Graph, TheWayBackRunsOnOurKernels) {
  const auto ids = some_tokens(14);
  const mx::array targets(ids.begin(), {14}, mx::int32);
  const auto loss = [&](const std::vector<mx::array>& in) {
    return std::vector<mx::array>{
        mx::sum(ops::cross_entropy(logits_of(in[0], LogitsFor::kAll, true), targets))};
  };
  const auto [values, gradients] = mx::vjp(loss, {random_embeddings(14)}, {mx::array(1.0f)});
  EXPECT_GT(count_nodes(gradients), 20);
  EXPECT_THAT(slow_nodes(gradients), IsEmpty());
  EXPECT_THAT(slow_nodes(values), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Goldens, Graph, ::testing::ValuesIn(golden_models(Configs::kNewest)), golden_name);

}  // namespace
}  // namespace genkit::test

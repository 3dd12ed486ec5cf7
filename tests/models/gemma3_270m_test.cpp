// The real weights that the demo uses, with exact arithmetic, against transformers.

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "genkit/base/json_reader.h"
#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

namespace fs = std::filesystem;

class Gemma3 : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const fs::path weights = fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf";
    if (!fs::exists(weights)) return;
    io::Checkpoint checkpoint = io::Checkpoint::open(weights);
    model_ = models::load_model(checkpoint, {.arithmetic = ops::Arithmetic::kExact}).release();
  }
  static void TearDownTestSuite() { delete model_; }
  void SetUp() override {
    if (!model_) GTEST_SKIP() << "models/gemma-3-270m-q4_k_m.gguf is not there";
    golden_ =
        read_json_file(fs::path(MLXGK_TEST_DATA).parent_path() / "goldens_gemma3_270m/gemma3_270m.json");
  }

  /// Natural log-probability of `id` in one row of logits, summed in double precision.
  static double log_probability(const float* logits, int vocab, int32_t id) {
    const double top = *std::max_element(logits, logits + vocab);
    double sum = 0.0;
    for (int i = 0; i < vocab; ++i) sum += std::exp(logits[i] - top);
    return logits[id] - top - std::log(sum);
  }

  static models::Model* model_;
  nlohmann::json golden_;
};

models::Model* Gemma3::model_ = nullptr;

TEST_F(Gemma3, LogProbabilitiesOfTexts) {
  for (const auto& text : golden_.at("perplexity")) {
    const std::vector<int32_t> ids = text.at("ids");
    const std::vector<double> expected = text.at("logprobs");
    ASSERT_EQ(expected.size() + 1, ids.size());
    mx::array logits = *model_->forward(packed({ids}, models::LogitsFor::kAll)).logits;
    logits.eval();
    const int vocab = logits.shape(1);
    double sum = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double got = log_probability(logits.data<float>() + i * vocab, vocab, ids[i + 1]);
      EXPECT_NEAR(got, expected[i], 2e-3) << "token " << i + 1;
      sum += got;
    }
    const double perplexity = std::exp(-sum / expected.size());
    EXPECT_NEAR(perplexity / text.at("perplexity").get<double>(), 1.0, 1e-4);
  }
}

// The first steps of a recorded continuation, all at once: every one of them is the model's choice.
TEST_F(Gemma3, RecordedContinuationIsGreedy) {
  const auto& golden = golden_.at("greedy").at(0);
  const std::vector<int32_t> prompt = golden.at("prompt_ids"), continued = golden.at("new_ids");
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), continued.begin(), continued.end() - 1);
  const mx::array logits = *model_->forward(packed({ids}, models::LogitsFor::kAll)).logits;
  const int from = static_cast<int>(prompt.size()) - 1;
  const mx::array steps = mx::slice(logits, {from, 0}, {logits.shape(0), logits.shape(1)});
  EXPECT_EQ(greedy(steps), continued);
}

// Promise 3 in the default arithmetic too: int8 activations may not depend on what is computed beside.
TEST_F(Gemma3, FastArithmeticIsTheSameOnEveryPath) {
  io::Checkpoint checkpoint = io::Checkpoint::open(fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf");
  const auto fast = models::load_model(checkpoint);
  const std::vector<int32_t> ids = golden_.at("perplexity").at(1).at("ids");
  const std::vector<int32_t> other = golden_.at("greedy").at(3).at("prompt_ids");
  const mx::array whole = *fast->forward(packed({ids}, models::LogitsFor::kLast)).logits;
  const mx::array batch = *fast->forward(packed({other, ids}, models::LogitsFor::kLast)).logits;
  EXPECT_EQ(max_difference(mx::slice(batch, {1, 0}, {2, batch.shape(1)}), whole), 0.0);
  cache::KvCache cache = fast->make_cache();
  const int slot = cache.add_row();
  std::optional<mx::array> last;
  for (size_t begin = 0; begin < ids.size(); begin += 5) {
    const size_t end = std::min(ids.size(), begin + 5);
    models::ForwardInput input = packed({{ids.begin() + begin, ids.begin() + end}}, models::LogitsFor::kLast);
    input.rows[0].slot = slot;
    last = fast->forward(input, &cache).logits;
    last->eval();
  }
  EXPECT_EQ(max_difference(*last, whole), 0.0);
  // And it is not the exact arithmetic under another name.
  const mx::array exact = *model_->forward(packed({ids}, models::LogitsFor::kLast)).logits;
  EXPECT_GT(max_difference(whole, exact), 1e-4);
  // What it prefers is as good as the best: log-probabilities move by up to 0.08 between the two, so tokens
  // closer than twice that may change places. Here two stand 0.068 apart, and tiles of bfloat16 exchange
  // them.
  const auto exact_logit = [&](int32_t id) { return exact.data<float>()[id]; };
  EXPECT_LT(exact_logit(greedy(exact)[0]) - exact_logit(greedy(whole)[0]), 0.16);
}

// Panels hold the numbers of the file in another order; and what they were made of need not stay in memory.
TEST_F(Gemma3, RepackedWeightsGiveTheSameBits) {
  io::Checkpoint checkpoint = io::Checkpoint::open(fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf");
  const std::vector<int32_t> ids = golden_.at("greedy").at(0).at("prompt_ids");
  for (const auto arithmetic : {ops::Arithmetic::kFast, ops::Arithmetic::kInt8}) {
    const auto repacked = models::load_model(checkpoint, {.arithmetic = arithmetic});
    const auto plain = models::load_model(checkpoint, {.arithmetic = arithmetic, .repack = false});
    EXPECT_NE(repacked->components().head->panels, nullptr);
    EXPECT_EQ(plain->components().head->panels, nullptr);
    const auto logits = [&](const models::Model& model) {
      return *model.forward(packed({ids}, models::LogitsFor::kAll)).logits;
    };
    const mx::array expected = logits(*plain);
    EXPECT_EQ(max_difference(logits(*repacked), expected), 0.0);
    EXPECT_EQ(max_difference(logits(*repacked), expected), 0.0);  // by panels that were there
  }
}

TEST_F(Gemma3, Components) {
  const models::Components c = model_->components();
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(c.head, c.embedding);
  EXPECT_EQ(c.embedding->shape, (mx::Shape{262144, 640}));
  EXPECT_EQ(c.num_blocks, 18);
  EXPECT_EQ(c.vocab_size, 262144);
  EXPECT_EQ(c.hidden_size, 640);
  ASSERT_NE(c.final_norm, nullptr);
  EXPECT_EQ(c.final_norm->shape(), (mx::Shape{640}));
}

}  // namespace
}  // namespace genkit::test

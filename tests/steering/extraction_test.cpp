// Vectors out of models: against states taken one text at a time, and against transformers.
#include "genkit/steering/extraction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/safetensors.h"
#include "genkit/models/hidden_capture.h"
#include "genkit/models/registry.h"
#include "genkit/text/tokenizer.h"

namespace genkit::steering {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::unique_ptr<models::Model> golden(const std::string& name) {
  io::Checkpoint checkpoint =
      io::Checkpoint::open(fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models" / name);
  return models::load_model(checkpoint);
}

std::vector<TokenSequence> random_sequences(size_t count, unsigned seed, int vocab, int begin = 0) {
  std::mt19937 generator(seed);
  std::vector<TokenSequence> out(count);
  for (TokenSequence& sequence : out) {
    sequence.begin = begin;
    sequence.where = "text";
    for (size_t length = 3 + generator() % 9; length > 0; --length) {
      sequence.ids.push_back(3 + static_cast<int32_t>(generator() % static_cast<unsigned>(vocab - 3)));
    }
  }
  return out;
}

/// [tokens, hidden] of one text, alone.
std::vector<float> states_alone(const models::Model& model, const std::vector<int32_t>& ids, int block) {
  models::HiddenCapture capture({{models::Site::kBlock, block}});
  models::ForwardInput input;
  input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  models::RowSpan row;
  row.length = static_cast<int>(ids.size());
  input.rows = {row};
  model.forward(input, nullptr, {&capture});
  mx::array x = mx::contiguous(capture.at(models::Site::kBlock, block));
  x.eval();
  return {x.data<float>(), x.data<float>() + x.size()};
}

TEST(TokenChoices, AreReadAndNamed) {
  EXPECT_EQ(TokenChoice::parse("last", "--position").text(), "last");
  EXPECT_EQ(TokenChoice::parse("mean", "--position").text(), "mean");
  EXPECT_EQ(TokenChoice::parse("tokens:0,-1", "--position").text(), "tokens:0,-1");
  for (const char* bad :
       {"", "first", "tokens:", "tokens:1,", "tokens:a", "tokens:1 2", "tokens:99999999999"}) {
    EXPECT_THAT([&] { TokenChoice::parse(bad, "--position"); },
                ThrowsMessage<ArgumentError>(HasSubstr("--position: expected last, mean, or tokens:N")))
        << bad;
  }
}

TEST(TokenChoices, CountFromTheResponse) {
  const TokenSequence text{.ids = {2, 10, 11, 12}, .begin = 1, .where = "line 4"};
  EXPECT_THAT(TokenChoice::parse("last", "").in(text), ElementsAre(3));
  EXPECT_THAT(TokenChoice::parse("mean", "").in(text), ElementsAre(1, 2, 3));
  EXPECT_THAT(TokenChoice::parse("tokens:0,-1", "").in(text), ElementsAre(1, 3));
  EXPECT_THAT([&] { TokenChoice::parse("tokens:3", "").in(text); },
              ThrowsMessage<ArgumentError>("line 4: has 3 tokens, there is no token 3"));
  const TokenSequence bos{.ids = {2}, .begin = 1, .where = "line 5"};
  EXPECT_THAT([&] { TokenChoice::parse("mean", "").in(bos); },
              ThrowsMessage<ArgumentError>("line 5: there are no tokens but special ones"));
}

class Extraction : public testing::TestWithParam<const char*> {};

TEST_P(Extraction, PackedStatesAreThoseOfEachTextAlone) {
  const auto model = golden(GetParam());
  const auto texts = random_sequences(7, 5, model->components().vocab_size);
  for (const int per_pass : {1, 13, 1024}) {
    size_t calls = 0, last = 0;
    VisitOptions options{.blocks = {0, model->components().num_blocks - 1},
                         .hooks = {},
                         .tokens_per_pass = per_pass,
                         .progress = {}};
    options.progress = [&](size_t done, size_t all) {
      EXPECT_EQ(all, texts.size());
      EXPECT_GT(done, last);
      last = done;
      ++calls;
      return true;
    };
    visit_states(*model, texts, options, [&](size_t i, int block, std::span<const float> x) {
      const std::vector<float> alone = states_alone(*model, texts[i].ids, block);
      ASSERT_EQ(alone.size(), x.size());
      float largest = 1;
      for (const float v : alone) largest = std::max(largest, std::abs(v));
      for (size_t k = 0; k < x.size(); ++k)
        ASSERT_NEAR(x[k], alone[k], 1e-5f * largest);  // order of fp32 sums
    });
    EXPECT_EQ(last, texts.size());
    EXPECT_EQ(calls, per_pass == 1 ? texts.size() : per_pass == 1024 ? 1u : calls);
  }
}

TEST_P(Extraction, MeanDifferenceIsWhatItSays) {
  const auto model = golden(GetParam());
  const int vocab = model->components().vocab_size, blocks = model->components().num_blocks;
  ContrastSet texts{
      .positive = random_sequences(5, 1, vocab), .negative = random_sequences(5, 2, vocab), .paired = true};
  const VectorSet set = extract_vectors(*model, texts, {});
  ASSERT_EQ(set.directions.size(), static_cast<size_t>(blocks));
  EXPECT_EQ(set.model_hash, model_hash(*model));
  EXPECT_EQ(set.num_blocks, blocks);
  const size_t hidden = static_cast<size_t>(set.hidden_size());
  for (int block = 0; block < blocks; ++block) {
    std::vector<double> expected(hidden, 0.0);
    double length = 0;
    for (size_t i = 0; i < 5; ++i) {
      const auto up = states_alone(*model, texts.positive[i].ids, block),
                 down = states_alone(*model, texts.negative[i].ids, block);
      double square = 0;
      for (size_t k = 0; k < hidden; ++k) {
        const float u = up[up.size() - hidden + k];
        expected[k] += (u - down[down.size() - hidden + k]) / 5.0;
        square += static_cast<double>(u) * u;
      }
      length += std::sqrt(square) / 5;
    }
    double error = 0, size = 0;
    for (size_t k = 0; k < hidden; ++k) {
      error += std::pow(set.at(block)[k] - expected[k], 2);
      size += expected[k] * expected[k];
    }
    EXPECT_LT(std::sqrt(error / size), 1e-4) << "block " << block;
    EXPECT_NEAR(*set.layers.at(block).residual_norm, length, 1e-4 * length);
    EXPECT_TRUE(set.layers.at(block).auc && set.layers.at(block).explained_variance);
  }
  ASSERT_TRUE(set.suggested_layer);
  for (const auto& [block, report] : set.layers)
    EXPECT_LE(*report.auc, *set.layers.at(*set.suggested_layer).auc);
}

INSTANTIATE_TEST_SUITE_P(Families, Extraction, testing::Values("llama", "gemma3_text", "gpt2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ExtractionErrors, NameWhatIsWrong) {
  const auto model = golden("llama");
  const auto some = random_sequences(3, 1, model->components().vocab_size);
  EXPECT_THAT([&] { extract_vectors(*model, {.positive = some, .negative = {}}, {}); },
              ThrowsMessage<ArgumentError>("negative: there are no texts"));
  EXPECT_THAT([&] { extract_vectors(*model, {.positive = some, .negative = some, .paired = true}, {}); },
              ThrowsMessage<ArgumentError>("block 0: samples: positives and negatives do not differ"));
  ExtractOptions wrong;
  wrong.blocks = {99};
  EXPECT_THAT([&] { extract_vectors(*model, {.positive = some, .negative = some}, wrong); },
              ThrowsMessage<ArgumentError>(HasSubstr("layers: block 99 of a model with")));
  auto bad = some;
  bad[1].ids[0] = 100000;
  EXPECT_THAT([&] { extract_vectors(*model, {.positive = bad, .negative = some}, {}); },
              ThrowsMessage<ArgumentError>(HasSubstr("text: id 100000 lies outside")));
  bad[1].ids.assign(5000, 5);
  EXPECT_THAT([&] { extract_vectors(*model, {.positive = bad, .negative = some}, {}); },
              ThrowsMessage<ArgumentError>(HasSubstr("5000 tokens are more than the model's")));
  ExtractOptions stopped;
  stopped.progress = [](size_t, size_t) { return false; };
  EXPECT_THAT(
      [&] { extract_vectors(*model, {.positive = some, .negative = random_sequences(3, 2, 100)}, stopped); },
      ThrowsMessage<Error>("interrupted"));
}

TEST(ExtractionRealModel, MeanDifferencesOfTransformers) {
  const fs::path weights = fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf";
  const fs::path folder = fs::path(MLXGK_TEST_DATA).parent_path() / "goldens_gemma3_270m";
  if (!fs::exists(weights)) GTEST_SKIP() << "the real weights have not been fetched";
  io::Checkpoint checkpoint = io::Checkpoint::open(weights);
  const auto model = models::load_model(checkpoint, {.arithmetic = ops::Arithmetic::kExact});
  const auto tokenizer = text::Tokenizer::load(weights);
  const auto recorded = read_json_file(folder / "gemma3_270m_steering.json");
  ContrastSet texts{.positive = {}, .negative = {}, .paired = true};
  for (const auto& pair : recorded.at("pairs")) {
    texts.positive.push_back(
        {.ids = tokenizer->encode(pair[0].get<std::string>()), .begin = 1, .where = "positive"});
    texts.negative.push_back(
        {.ids = tokenizer->encode(pair[1].get<std::string>()), .begin = 1, .where = "negative"});
  }
  const VectorSet set = extract_vectors(*model, texts, {});
  const auto tensors = io::load_safetensors(folder / "gemma3_270m_steering.safetensors");
  mx::array expected = tensors.at("mean_difference"), norms = tensors.at("residual_norm");
  mx::eval({expected, norms});
  ASSERT_EQ(expected.shape(0), static_cast<int>(set.directions.size()));
  const auto width = static_cast<size_t>(expected.shape(1));
  for (int block = 0; block < expected.shape(0); ++block) {
    const float* row = expected.data<float>() + static_cast<size_t>(block) * width;
    double error = 0, size = 0;
    for (size_t k = 0; k < width; ++k) {
      error += std::pow(static_cast<double>(set.at(block)[k]) - row[k], 2);
      size += static_cast<double>(row[k]) * row[k];
    }
    EXPECT_LT(std::sqrt(error / size), 1e-3) << "block " << block;
    EXPECT_NEAR(*set.layers.at(block).residual_norm, norms.data<float>()[block],
                1e-3 * norms.data<float>()[block]);
  }
  EXPECT_THAT(set.model_hash, HasSubstr("gemma3_text-18x640-v262144-"));
}

}  // namespace
}  // namespace genkit::steering

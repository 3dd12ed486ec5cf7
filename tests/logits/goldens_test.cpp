// Every processor, and whole chains, against what transformers recorded.
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "genkit/base/json_reader.h"
#include "genkit/eval/golden_processors.h"
#include "genkit/logits/chain.h"

namespace genkit::logits {
namespace {

using nlohmann::json;

struct GoldenFile {
  json content;
  std::unordered_map<std::string, mlx::core::array> tensors;

  explicit GoldenFile(const std::string& name) {
    const auto folder = std::filesystem::path(MLXGK_TEST_DATA) / ".." / "goldens";
    content = read_json_file(folder / (name + ".json"));
    tensors = mlx::core::load_safetensors((folder / (name + ".safetensors")).string()).first;
  }
  /// One row of a tensor [rows, vocab].
  std::vector<float> row(const std::string& key, size_t row) {
    mlx::core::array& tensor = tensors.at(key);
    tensor.eval();
    const size_t vocab = static_cast<size_t>(tensor.shape(1));
    const float* data = tensor.data<float>() + row * vocab;
    return {data, data + vocab};
  }
};

/// The tolerance of the goldens: 1e-4 of the largest entry; what is removed must be the same.
void expect_scores(const std::vector<float>& got, const std::vector<float>& expected,
                   const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  float largest = 1;
  for (const float v : expected) {
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  }
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isfinite(expected[i])) {
      ASSERT_NEAR(got[i], expected[i], 1e-4 * largest) << what << ", id " << i;
    } else {
      ASSERT_EQ(got[i], expected[i]) << what << ", id " << i;
    }
  }
}

std::vector<int32_t> ids_of(const json& list) { return list.get<std::vector<int32_t>>(); }

TEST(Goldens, Processors) {
  GoldenFile file("processors");
  // A processor of audio models over pairs of rows, and one with a state from call to call.
  const std::set<std::string> elsewhere = {"guidance_scale_batched", "watermark_synthid"};
  int ran = 0;
  for (const json& test_case : file.content["cases"]) {
    if (elsewhere.count(test_case["processor"])) continue;
    const std::string name = test_case["name"];
    const size_t beams = test_case["params"].value("num_beams", 1), rows = test_case["input_ids"].size();
    for (size_t first = 0; first < rows; first += beams) {
      std::vector<std::vector<float>> scores;
      std::vector<std::vector<int32_t>> ids;
      for (size_t row = first; row < first + beams; ++row) {
        scores.push_back(file.row(test_case["scores_tensor"], row));
        ids.push_back(ids_of(test_case["input_ids"][row]));
      }
      const ProcessorPtr processor =
          eval::golden_processor(test_case, first, static_cast<int>(scores[0].size()));
      ASSERT_NE(processor, nullptr) << name;
      std::vector<Context> contexts;
      for (const auto& row : ids) contexts.push_back({row});
      std::vector<Scores> views(scores.begin(), scores.end());
      processor->apply_to_beams(contexts, views);
      for (size_t i = 0; i < beams; ++i) {
        expect_scores(scores[i], file.row(test_case["expected_tensor"], first + i),
                      name + " row " + std::to_string(first + i));
      }
    }
    ++ran;
  }
  EXPECT_GE(ran, 200);
}

TEST(Goldens, WholeChains) {
  GoldenFile file("processor_list");
  for (const json& test_case : file.content["cases"]) {
    const std::string name = test_case["name"];
    const json params = test_case["params"];
    const bool beams = params.value("num_beams", 1) > 1;
    config::GenerationConfig special = config::GenerationConfig::from_model(test_case["special_tokens"]);
    const auto caller = config::GenerationConfig::from_caller(params, name);
    const auto effective = config::resolve(special, caller);
    const size_t eos = effective.values.eos_token_id ? effective.values.eos_token_id->size() : 0;
    for (const json& step : test_case["steps"]) {
      for (size_t row = 0; row < step["input_ids"].size(); ++row) {
        const size_t prompt_row = beams ? row / 2 : row;
        const std::vector<int32_t> prompt = ids_of(test_case["prompt_ids"][prompt_row]);
        int padding = 0;
        if (!test_case["attention_mask"].is_null()) {
          const auto mask = ids_of(test_case["attention_mask"][prompt_row]);
          padding = static_cast<int>(std::find(mask.begin(), mask.end(), 1) - mask.begin());
        }
        std::vector<float> scores = file.row(step["scores_tensor"], row);
        const Chain chain({.config = effective.values,
                           .mode = effective.mode,
                           .prompt = prompt,
                           .padding = padding,
                           .max_length = test_case["resolved_max_length"],
                           .vocab_size = static_cast<int>(scores.size()),
                           .min_tokens_to_keep = beams ? static_cast<int>(std::max<size_t>(eos, 1)) + 1 : 1});
        std::vector<std::string> names;
        for (const auto& n : chain.names()) names.emplace_back(n);
        ASSERT_EQ(names, test_case["processor_order"].get<std::vector<std::string>>()) << name;
        const std::vector<int32_t> ids = ids_of(step["input_ids"][row]);
        Scores view(scores);
        chain.apply({ids}, view);
        expect_scores(scores, file.row(step["expected_tensor"], row), name + " step " + step["step"].dump());
      }
    }
  }
}

}  // namespace
}  // namespace genkit::logits

// Every case of every tests/goldens/models/*/forward.json, from both forms of the configuration:
// logits and all hidden states against transformers.

#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "genkit/base/json_reader.h"
#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

class Forward : public ::testing::TestWithParam<GoldenModel> {};

/// The tokens of a row that are not padding.
std::vector<int32_t> tokens_of(const nlohmann::json& ids, const nlohmann::json& mask) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (mask.is_null() || mask[i] == 1) out.push_back(ids[i]);
  }
  return out;
}

/// Rows of a padded [batch, length, n] without their padding, one after another.
mx::array unpadded(const mx::array& x, const std::vector<std::vector<int32_t>>& rows) {
  std::vector<mx::array> parts;
  for (int b = 0; b < x.shape(0); ++b) {
    const int length = static_cast<int>(rows[b].size());
    parts.push_back(mx::reshape(mx::slice(x, {b, x.shape(1) - length, 0}, {b + 1, x.shape(1), x.shape(2)}),
                                {length, x.shape(2)}));
  }
  return mx::concatenate(parts, 0);
}

void expect_near(const mx::array& got, const mx::array& expected, const std::string& what) {
  EXPECT_LE(max_difference(got, expected), tolerance(expected)) << what;
}

TEST_P(Forward, EqualsTransformers) {
  const auto folder = golden_folder(GetParam().name);
  const nlohmann::json file = read_json_file(folder / "forward.json");
  const auto tensors = mx::load_safetensors((folder / file.at("tensors_file")).string()).first;
  const auto model = load(GetParam());
  ASSERT_FALSE(file.at("cases").empty());
  for (const auto& golden : file.at("cases")) {
    SCOPED_TRACE(golden.at("name").get<std::string>());
    std::vector<std::vector<int32_t>> rows;
    int longest = 0;
    for (size_t b = 0; b < golden.at("input_ids").size(); ++b) {
      const auto& mask = golden.at("attention_mask");
      rows.push_back(tokens_of(golden["input_ids"][b], mask.is_null() ? mask : mask[b]));
      longest = std::max(longest, static_cast<int>(rows.back().size()));
    }
    models::ForwardInput input = packed(rows, models::LogitsFor::kAll);
    input.rope_length = longest;  // transformers chooses by the longest row of a batch
    Recorder seen;
    const models::ForwardOutput out = model->forward(input, nullptr, {&seen});
    const auto expected = [&](const char* key) { return tensors.at(golden.at(key).get<std::string>()); };
    ASSERT_TRUE(out.logits);
    EXPECT_EQ(out.logits->dtype(), mx::float32);
    expect_near(*out.logits, unpadded(expected("logits_tensor"), rows), "logits");
    expect_near(out.hidden, unpadded(expected("last_block_output_tensor"), rows), "last block");
    if (!golden.contains("hidden_states_tensor")) continue;
    const mx::array states = expected("hidden_states_tensor");
    const int count = states.shape(0);
    ASSERT_EQ(seen.hidden.size(), static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      const mx::array state = unpadded(mx::take(states, i, 0), rows);
      expect_near(i + 1 < count ? seen.hidden[i] : seen.final.at(0), state, "state " + std::to_string(i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, Forward, ::testing::ValuesIn(golden_models(Configs::kBoth)), golden_name);

}  // namespace
}  // namespace genkit::test

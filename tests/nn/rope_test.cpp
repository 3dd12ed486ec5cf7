#include "genkit/nn/rope.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <cmath>
#include <filesystem>

#include "genkit/base/json_reader.h"

namespace genkit::nn {
namespace {

config::RopeConfig rope_config(const nlohmann::json& parameters, int head_dim, int max_positions) {
  const nlohmann::json file = {{"rope_parameters", parameters}};
  return config::read_rope(JsonView(file, "config.json"), {}, head_dim, max_positions).full;
}

// rope_frequencies.json is made by tools/goldens/rope_frequencies.py with transformers.
TEST(Rope, FrequenciesEqualTransformers) {
  const nlohmann::json file =
      read_json_file(std::filesystem::path(MLXGK_TEST_DATA) / "rope_frequencies.json");
  ASSERT_GT(file.at("cases").size(), 10u);
  for (const auto& golden : file.at("cases")) {
    SCOPED_TRACE(golden.at("rope_parameters").dump());
    const Rope rope(rope_config(golden["rope_parameters"], file["head_dim"], file["max_position_embeddings"]),
                    false);
    const std::vector<float> got = rope.inv_freq(golden.at("length"));
    const std::vector<double> expected = golden.at("inv_freq");
    ASSERT_EQ(got.size(), expected.size());
    // Two roundings of float32 apart: powers are computed by another library.
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i] / expected[i], 1.0, 3e-7) << i;
    EXPECT_NEAR(rope.attention_scaling(), golden.at("attention_scaling").get<double>(), 1e-6);
  }
}

Positions positions_of(const std::vector<RopeSpan>& spans) {
  Positions p;
  p.spans = spans;
  std::vector<int32_t> ids;
  for (const RopeSpan& s : spans) {
    for (int i = 0; i < s.length; ++i) ids.push_back(s.position + i);
  }
  p.ids = mx::array(ids.begin(), mx::Shape{static_cast<int>(ids.size())}, mx::int32);
  return p;
}

std::vector<std::array<int, 2>> borders(const std::vector<RopeRun>& runs) {
  std::vector<std::array<int, 2>> out;
  for (const RopeRun& run : runs) out.push_back({run.begin, run.end});
  return out;
}

TEST(Rope, RunsFollowTheLengthOfEachRow) {
  const Rope plain(rope_config({{"rope_theta", 100.0}}, 8, 10), false);
  const Rope dynamic(rope_config({{"rope_type", "dynamic"}, {"factor", 2.0}}, 8, 10), false);
  const Positions rows = positions_of({{4, 0, 0}, {12, 0, 0}, {3, 0, 0}, {2, 0, 11}});
  using Borders = std::vector<std::array<int, 2>>;
  EXPECT_EQ(borders(plain.runs(rows)), (Borders{{0, 21}}));
  EXPECT_EQ(borders(dynamic.runs(rows)), (Borders{{0, 4}, {4, 16}, {16, 19}, {19, 21}}));
  // In generation a token past the prompt goes by its own position.
  const Positions steps = positions_of({{5, 8, 9}});
  EXPECT_EQ(borders(dynamic.runs(steps)), (Borders{{0, 2}, {2, 3}, {3, 4}, {4, 5}}));
  Positions batch = rows;
  batch.batch_length = 12;
  EXPECT_EQ(borders(dynamic.runs(batch)), (Borders{{0, 21}}));
}

TEST(Rope, MixedRunsEqualEachRowAlone) {
  const nlohmann::json parameters = {{"rope_type", "longrope"},
                                     {"rope_theta", 100.0},
                                     {"original_max_position_embeddings", 6},
                                     {"short_factor", {1.0, 1.1, 1.2, 1.3}},
                                     {"long_factor", {2.0, 3.0, 4.0, 5.0}}};
  const Rope rope(rope_config(parameters, 8, 24), false);
  std::vector<float> numbers(13 * 2 * 8);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::sin(0.7f * static_cast<float>(i));
  const mx::array x(numbers.begin(), mx::Shape{13, 2, 8});
  const mx::array together = rope(x, positions_of({{4, 0, 0}, {9, 0, 0}}));
  const mx::array first = rope(mx::slice(x, {0, 0, 0}, {4, 2, 8}), positions_of({{4, 0, 0}}));
  const mx::array second = rope(mx::slice(x, {4, 0, 0}, {13, 2, 8}), positions_of({{9, 0, 0}}));
  EXPECT_TRUE(mx::array_equal(together, mx::concatenate({first, second}, 0)).item<bool>());
  // And the long row is not rotated as the short one would be.
  Positions as_short = positions_of({{9, 0, 0}});
  as_short.batch_length = 6;
  EXPECT_FALSE(mx::array_equal(second, rope(mx::slice(x, {4, 0, 0}, {13, 2, 8}), as_short)).item<bool>());
}

}  // namespace
}  // namespace genkit::nn

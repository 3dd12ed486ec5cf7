#include <gtest/gtest.h>

#include <random>

#include "genkit/base/error.h"
#include "genkit/kernels/dequantize.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/linear.h"
#include "tests/ops/op_test.h"

namespace genkit::ops {
namespace {

using testing::message_of;

Weight q8_weight() {
  const int rows = 5, in = 64;
  std::vector<uint8_t> bytes(rows * row_bytes(WeightFormat::kQ8_0, in));
  std::mt19937 engine(3);
  for (auto& b : bytes) b = static_cast<uint8_t>(engine());
  for (int i = 0; i < rows * 2; ++i) bytes[i * 34 + 1] = 0x2c;  // scales near 0.06
  return {.name = "embed",
          .format = WeightFormat::kQ8_0,
          .shape = {rows, in},
          .data = mx::array(bytes.begin(), {rows, static_cast<int>(bytes.size()) / rows}, mx::uint8)};
}

TEST(Embedding, TakesRowsOfEveryKindOfWeight) {
  const Weight dense{.name = "embed", .shape = {7, 4}, .data = testing::random_array({7, 4}, 1)};
  const mx::array ids({6, 0, 0, 3}, mx::int32);
  EXPECT_EQ(testing::max_difference(embedding(ids, dense), mx::take(dense.data, ids, 0)), 0);
  const Weight q8 = q8_weight();
  const mx::array few({4, 1}, mx::int32);
  EXPECT_EQ(testing::max_difference(embedding(few, q8), mx::take(dequantize(q8), few, 0)), 0);
  EXPECT_EQ(testing::max_difference(embedding(few, q8), composed::embedding(few, q8)), 0);
}

TEST(Embedding, NamesTheWeightAndTheIdOutside) {
  const Weight q8 = q8_weight();
  EXPECT_EQ(message_of<ArgumentError>([&] {
              embedding(mx::array({1, 5}, mx::int32), q8);
            }),
            "embed: id 5 lies outside its 5 rows");
  EXPECT_EQ(message_of<ArgumentError>([&] { embedding(mx::array({-1}, mx::int32), q8); }),
            "embed: id -1 lies outside its 5 rows");
  // Computed ids are only known while evaluating.
  EXPECT_EQ(message_of<std::runtime_error>([&] {
              embedding(mx::add(mx::array({1, 3}, mx::int32), mx::array(2)), q8).eval();
            }),
            "embed: id 5 lies outside its 5 rows");
}

TEST(Weight, IsRefusedWhenItsPartsDoNotFit) {
  Weight w = q8_weight();
  w.shape = {5, 96};
  EXPECT_EQ(message_of<ArgumentError>([&] { dequantize(w); }),
            "embed: expected data of shape [5, 102], got [5, 68]");
  w.shape = {5, 65};
  EXPECT_EQ(message_of<ArgumentError>([&] { dequantize(w); }),
            "embed: rows of 65 numbers are no whole number of Q8_0 blocks of 32");
  const Weight affine{.name = "proj",
                      .format = WeightFormat::kAffine,
                      .shape = {2, 64},
                      .data = mx::zeros({2, 8}, mx::uint32),
                      .bits = 7,
                      .group_size = 64};
  EXPECT_EQ(message_of<ArgumentError>([&] { dequantize(affine); }),
            "proj: bits: expected 2, 3, 4, 5, 6 or 8, got 7");
}

TEST(Linear, NamesTheWeightThatDoesNotFit) {
  const Weight w{.name = "model.layers.0.mlp.up_proj.weight", .shape = {3, 4}, .data = mx::zeros({3, 4})};
  EXPECT_EQ(
      message_of<ArgumentError>([&] {
        linear(mx::zeros({2, 5}), w);
      }),
      "model.layers.0.mlp.up_proj.weight: a weight of shape [3, 4] cannot multiply an input of shape [2, 5]");
}

}  // namespace
}  // namespace genkit::ops

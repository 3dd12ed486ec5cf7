#include "genkit/kernels/dequantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "genkit/base/error.h"

namespace genkit {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::vector<uint8_t> bytes_of(const std::string& hex) {
  std::vector<uint8_t> bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return bytes;
}

std::vector<float> floats_of(const std::string& hex) {
  const auto bytes = bytes_of(hex);
  std::vector<float> floats(bytes.size() / 4);
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return floats;
}

const json& fixture() {
  static const json data = json::parse(std::ifstream(MLXGK_TEST_DATA "/data/dequantize.json"));
  return data;
}

// Copies the row to an odd address: weights in a mapped file lie anywhere.
struct Misaligned {
  explicit Misaligned(const std::vector<uint8_t>& bytes) : storage(bytes.size() + 1) {
    std::memcpy(storage.data() + 1, bytes.data(), bytes.size());
  }
  const uint8_t* data() const { return storage.data() + 1; }
  std::vector<uint8_t> storage;
};

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    uint32_t a, b;
    std::memcpy(&a, &got[i], 4);
    std::memcpy(&b, &expected[i], 4);
    ASSERT_EQ(a, b) << "number " << i << ": got " << got[i] << ", expected " << expected[i];
  }
}

TEST(Dequantize, EveryBlockFormatEqualsTheGgufPackage) {
  std::vector<bool> seen(static_cast<size_t>(WeightFormat::kAffine));
  for (const json& c : fixture()["blocks"]) {
    SCOPED_TRACE(c["format"].get<std::string>());
    const auto format = weight_format_from_name(c["format"].get<std::string>());
    ASSERT_TRUE(format);
    seen[size_t(*format)] = true;
    const auto row = bytes_of(c["row"]);
    const auto expected = floats_of(c["expected"]);
    ASSERT_EQ(row_bytes(*format, int64_t(expected.size())), row.size());
    std::vector<float> got(expected.size(), std::numeric_limits<float>::quiet_NaN());
    dequantize_row(*format, Misaligned(row).data(), int64_t(got.size()), got.data());
    expect_same_bits(got, expected);
  }
  EXPECT_THAT(seen, testing::Each(true));
}

TEST(Dequantize, EveryAffineLayoutEqualsMlx) {
  EXPECT_EQ(fixture()["affine"].size(), 54u);
  for (const json& c : fixture()["affine"]) {
    SCOPED_TRACE(c["bits"].dump() + " bits, groups of " + c["group_size"].dump());
    const Misaligned words(bytes_of(c["words"])), scales(bytes_of(c["scales"])),
        biases(bytes_of(c["biases"]));
    AffineRow row;
    row.words = words.data();
    row.scales = scales.data();
    row.biases = biases.data();
    row.scale_format = *weight_format_from_name(c["scale_format"].get<std::string>());
    row.bits = c["bits"];
    row.group_size = c["group_size"];
    const auto expected = floats_of(c["expected"]);
    std::vector<float> got(expected.size());
    dequantize_affine_row(row, int64_t(got.size()), got.data());
    expect_same_bits(got, expected);
  }
}

TEST(Dequantize, NamesAndSizes) {
  EXPECT_EQ(weight_format_from_name("q4_k"), WeightFormat::kQ4_K);
  EXPECT_EQ(weight_format_from_name("IQ4_xs"), WeightFormat::kIQ4_XS);
  EXPECT_EQ(weight_format_from_name("Q4"), std::nullopt);
  EXPECT_FALSE(is_quantized(WeightFormat::kBF16));
  EXPECT_TRUE(is_quantized(WeightFormat::kQ4_0));
  EXPECT_EQ(row_bytes(WeightFormat::kQ6_K, 512), 420u);
  EXPECT_EQ(row_bytes(WeightFormat::kQ6_K, 0), 0u);
}

template <typename F>
std::string message_of(F f) {
  try {
    f();
  } catch (const ArgumentError& e) {
    return e.what();
  }
  return "no error";
}

TEST(Dequantize, RefusesRowsThatAreNoWholeBlocks) {
  EXPECT_EQ(message_of([] { row_bytes(WeightFormat::kQ4_K, 128); }),
            "values: expected a multiple of 256 for Q4_K, got 128");
  EXPECT_EQ(message_of([] { row_bytes(WeightFormat::kQ8_0, -32); }),
            "values: expected a multiple of 32 for Q8_0, got -32");
  EXPECT_THAT(message_of([] { row_bytes(WeightFormat::kF32, std::numeric_limits<int64_t>::max()); }),
              HasSubstr("overflow"));
  EXPECT_THAT(message_of([] { row_bytes(WeightFormat::kAffine, 64); }), HasSubstr("bits and group_size"));
}

TEST(Dequantize, RefusesAffineFieldsOutOfRange) {
  float out[64];
  AffineRow row;
  row.bits = 7;
  EXPECT_EQ(message_of([&] { dequantize_affine_row(row, 64, out); }),
            "bits: expected 2, 3, 4, 5, 6 or 8, got 7");
  row.bits = 4;
  row.group_size = 48;
  EXPECT_EQ(message_of([&] { dequantize_affine_row(row, 48, out); }),
            "group_size: expected 32, 64 or 128, got 48");
  row.group_size = 64;
  EXPECT_EQ(message_of([&] { dequantize_affine_row(row, 32, out); }),
            "values: expected a multiple of group_size 64, got 32");
  row.scale_format = WeightFormat::kQ4_0;
  EXPECT_EQ(message_of([&] { dequantize_affine_row(row, 64, out); }),
            "scale_format: expected F32, F16 or BF16, got Q4_0");
}

}  // namespace
}  // namespace genkit

#include "genkit/kernels/linear.h"

#include <gtest/gtest.h>

#include "genkit/base/error.h"
#include "tests/kernels/kernel_test.h"

namespace genkit::kernels {
namespace {

using namespace testing;

struct Shape {
  int64_t rows, in, out;
};

// Odd sizes for what has no blocks; a multiple of 32 and one of 256 for what has.
std::vector<Shape> shapes_of(const WeightRows& kind) {
  const int block = kind.format == WeightFormat::kAffine ? kind.group_size : traits(kind.format).block_values;
  if (block == 1) return {{1, 1, 1}, {1, 17, 33}, {3, 515, 7}, {8, 64, 16}, {13, 1037, 21}};
  if (block == 256) return {{1, 256, 3}, {2, 512, 17}, {9, 768, 33}, {14, 256, 16}};
  return {{1, block, 5}, {1, 3 * block, 16}, {4, 9 * block, 35}, {11, 20 * block, 18}};
}

struct Kind {
  WeightFormat format;
  int bits = 4;
  int group_size = 64;
  WeightFormat scales = WeightFormat::kF16;
  std::string name() const {
    return std::string(traits(format).name) + " bits " + std::to_string(bits) + " group " +
           std::to_string(group_size);
  }
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const WeightFormat f : all_formats()) {
    if (f != WeightFormat::kAffine) all.push_back({f});
  }
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    all.push_back({WeightFormat::kAffine, bits, 32, WeightFormat::kF32});
    all.push_back({WeightFormat::kAffine, bits, 64, WeightFormat::kF16});
    all.push_back({WeightFormat::kAffine, bits, 128, WeightFormat::kBF16});
  }
  return all;
}

RandomWeight make_weight(const Kind& k, const Shape& s, uint32_t seed) {
  return RandomWeight(k.format, s.out, s.in, seed, k.bits, k.group_size, k.scales);
}

std::vector<Shape> shapes_of(const Kind& k) {
  WeightRows rows;
  rows.format = k.format;
  rows.group_size = k.group_size;
  return shapes_of(rows);
}

std::vector<float> run(const RandomWeight& w, const Shape& s, const float* x, int64_t rows, const float* bias,
                       Product product, const KernelTable& table) {
  std::vector<float> y(rows * s.out, -1);
  linear(x, rows, s.in, {{w.rows(), s.out, bias, y.data(), product}}, table);
  return y;
}

TEST(Dequantize, EqualsTheScalarReferenceBitForBit) {
  for (const auto* table : all_tables()) {
    for (const Kind& kind : kinds()) {
      for (const Shape& s : shapes_of(kind)) {
        const RandomWeight w = make_weight(kind, s, 7);
        for (int64_t r = 0; r < s.out; ++r) {
          std::vector<float> out(s.in);
          table->dequantize(w.rows(), r, out.data());
          const auto expected = w.row(r);
          ASSERT_EQ(std::memcmp(out.data(), expected.data(), sizeof(float) * s.in), 0)
              << table->name << " " << kind.name();
        }
      }
    }
  }
}

// Against double precision over the reference's numbers. Rounding grows like sqrt(in) * 2^-24 of
// the sum of |x w|; measured at most 6.8e-8 of it.
TEST(LinearF32, IsTheProductWithTheDequantisedWeight) {
  for (const auto* table : all_tables()) {
    for (const Kind& kind : kinds()) {
      for (const Shape& s : shapes_of(kind)) {
        const RandomWeight w = make_weight(kind, s, 1);
        const auto x = random_floats(s.rows * s.in + 1, 2), bias = random_floats(s.out, 3);
        const auto y = run(w, s, x.data() + 1, s.rows, bias.data(), Product::kF32, *table);
        for (int64_t n = 0; n < s.out; ++n) {
          const auto row = w.row(n);
          for (int64_t m = 0; m < s.rows; ++m) {
            double expected = bias[n], size = std::abs(bias[n]);
            for (int64_t k = 0; k < s.in; ++k) {
              expected += double{row[k]} * x[1 + m * s.in + k];
              size += std::abs(double{row[k]} * x[1 + m * s.in + k]);
            }
            ASSERT_NEAR(y[m * s.out + n], expected, 3e-7 * size)
                << table->name << " " << kind.name() << " " << n;
          }
        }
      }
    }
  }
}

// Products with activations rounded as quantize() documents, summed in double precision.
std::vector<float> int8_reference(const RandomWeight& w, const Shape& s, const float* x, const float* bias) {
  std::vector<float> y(s.rows * s.out);
  for (int64_t m = 0; m < s.rows; ++m) {
    std::vector<double> rounded(s.in);
    for (int64_t k = 0; k < s.in; k += 32) {
      float top = 0;
      for (int i = 0; i < 32; ++i) top = std::max(top, std::abs(x[m * s.in + k + i]));
      for (int i = 0; i < 32; ++i)
        rounded[k + i] = double{top / 127.0f} * std::nearbyint(x[m * s.in + k + i] * (127.0f / top));
    }
    for (int64_t n = 0; n < s.out; ++n) {
      const auto row = w.row(n);
      double exact = bias[n];
      for (int64_t k = 0; k < s.in; ++k) exact += row[k] * rounded[k];
      y[m * s.out + n] = static_cast<float>(exact);
    }
  }
  return y;
}

TEST(LinearInt8, IsTheProductOfTheRoundedActivations) {
  for (const Kind& kind : kinds()) {
    if (!is_quantized(kind.format)) continue;
    for (const Shape& s : shapes_of(kind)) {
      const RandomWeight w = make_weight(kind, s, 4);
      const auto x = random_floats(s.rows * s.in + 1, 5), bias = random_floats(s.out, 6);
      const auto expected = int8_reference(w, s, x.data() + 1, bias.data());
      std::vector<float> fused;
      for (const auto* table : all_tables()) {
        const auto y = run(w, s, x.data() + 1, s.rows, bias.data(), Product::kInt8, *table);
        // Sums of up to 2560 products of size about 1; measured at most 2.6e-5, relative past 1.
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_NEAR(y[i], expected[i], 1e-4 * (1 + std::abs(expected[i])))
              << table->name << " " << kind.name();
        if (!fuses(*table)) continue;
        if (fused.empty()) fused = y;
        ASSERT_EQ(y, fused) << table->name << " " << kind.name() << ": the targets must agree bit for bit";
      }
    }
  }
}

// Codes and activations at their ends: sums in 16 bits must not overflow, which would be off by a
// tenth and more. For what the products themselves lose to rounding, see the test above.
TEST(LinearInt8, TheLargestCodesDoNotOverflow) {
  for (const Kind& kind : kinds()) {
    if (!is_quantized(kind.format)) continue;
    const Shape s = {18, 512, 17};
    RandomWeight w = make_weight(kind, s, 13);
    std::vector<float> x(s.rows * s.in);
    for (size_t i = 0; i < x.size(); ++i) x[i] = i / s.in % 2 == 0 ? 1.0f : -1.0f;
    const std::vector<float> bias(s.out);
    for (const int byte : {0x00, 0x77, 0x80, 0x88, 0xff}) {
      w.fill(static_cast<uint8_t>(byte), 14);
      const auto expected = int8_reference(w, s, x.data(), bias.data());
      for (const auto* table : all_tables()) {
        for (const int64_t rows : {int64_t{1}, int64_t{2}, s.rows}) {
          const auto y = run(w, s, x.data(), rows, nullptr, Product::kInt8, *table);
          for (size_t i = 0; i < y.size(); ++i)
            ASSERT_NEAR(y[i], expected[i], 1e-2 * (1 + std::abs(expected[i])))
                << table->name << " " << kind.name() << " byte " << byte << " rows " << rows;
        }
      }
    }
  }
}

TEST(Linear, ARowDoesNotDependOnItsBatchNorOnTheThreads) {
  for (const auto* table : all_tables()) {
    for (const Kind& kind : kinds()) {
      for (const Product product : {Product::kF32, Product::kInt8, Product::kFast}) {
        if (product != Product::kF32 && !is_quantized(kind.format)) continue;
        const Shape s = {59, kind.format == WeightFormat::kF32 ? 1111 : 1280, 50};
        const RandomWeight w = make_weight(kind, s, 8);
        const auto x = random_floats(s.rows * s.in, 9);
        const auto whole = run(w, s, x.data(), s.rows, nullptr, product, *table);
        {
          const WithThreads threads(3);
          ASSERT_EQ(run(w, s, x.data(), s.rows, nullptr, product, *table), whole)
              << table->name << " " << kind.name();
        }
        for (const int64_t batch : {1, 2, 3, 4, 5, 9, 17, 37}) {
          for (int64_t m = 0; m + batch <= s.rows; m += batch) {
            const auto part = run(w, s, x.data() + m * s.in, batch, nullptr, product, *table);
            ASSERT_EQ(std::memcmp(part.data(), &whole[m * s.out], sizeof(float) * part.size()), 0)
                << table->name << " " << kind.name() << " product " << int(product) << " batch " << batch;
          }
        }
      }
    }
  }
}

TEST(LinearF32, TargetsThatFuseAgreeBitForBit) {
  for (const Kind& kind : kinds()) {
    const Shape s = {7, kind.format == WeightFormat::kF32 ? 1111 : 1280, 19};
    const RandomWeight w = make_weight(kind, s, 10);
    const auto x = random_floats(s.rows * s.in, 11);
    std::vector<float> first;
    for (const auto* table : all_tables()) {
      if (!fuses(*table)) continue;
      const auto y = run(w, s, x.data(), s.rows, nullptr, Product::kF32, *table);
      if (first.empty()) first = y;
      ASSERT_EQ(y, first) << table->name << " " << kind.name();
    }
  }
}

TEST(RoundedProducts, NumbersThatAreNoneStaySo) {
  for (const auto* table : all_tables()) {
    for (const Product product : {Product::kInt8, Product::kFast}) {
      const Shape s = {4, 64, 16};
      const RandomWeight q8(WeightFormat::kQ8_0, s.out, s.in, 1);
      auto x = random_floats(s.rows * s.in, 12);
      x[5] = NAN;
      x[64 + 40] = INFINITY;
      for (int i = 0; i < 64; ++i) x[128 + i] = 0;
      const auto y = run(q8, s, x.data(), s.rows, nullptr, product, *table);
      for (int n = 0; n < 16; ++n) {
        EXPECT_TRUE(std::isnan(y[n])) << table->name;
        EXPECT_FALSE(std::isfinite(y[16 + n])) << table->name;
        EXPECT_EQ(y[32 + n], 0) << table->name;
        EXPECT_TRUE(std::isfinite(y[48 + n])) << table->name;
      }
    }
  }
}

float bf16(float x) { return bfloat_to_float(float_to_bfloat(x)); }

// The steps that tiles.h says a pair of tiles takes, one after another.
float bf16_reference(const std::vector<float>& w, const float* x, int64_t in, float bias) {
  float total = 0;
  for (int64_t k = 0; k < in; k += 32) {
    float even = 0, odd = 0;
    for (int i = 0; i < 32; i += 2) {
      even = std::fma(bf16(w[k + i]), bf16(x[k + i]), even);
      odd = std::fma(bf16(w[k + i + 1]), bf16(x[k + i + 1]), odd);
    }
    total += even + odd;
  }
  return total + bias;
}

TEST(LinearFast, ByTilesItIsTheProductOfBothSidesRounded) {
  const KernelTable* table = kernels_named("amx");
  if (table == nullptr) GTEST_SKIP() << "this processor has no tiles";
  int by_tiles = 0;
  for (const Kind& kind : kinds()) {
    if (!is_quantized(kind.format)) continue;
    std::vector<Shape> shapes = shapes_of(kind);
    shapes.push_back({37, shapes.back().in, 50});
    for (const Shape& s : shapes) {
      const RandomWeight w = make_weight(kind, s, 4);
      const auto x = random_floats(s.rows * s.in + 1, 5), bias = random_floats(s.out, 6);
      const auto y = run(w, s, x.data() + 1, s.rows, bias.data(), Product::kFast, *table);
      if (table->fast_is_int8(w.rows())) {
        ASSERT_EQ(y, run(w, s, x.data() + 1, s.rows, bias.data(), Product::kInt8, *table)) << kind.name();
        continue;
      }
      ++by_tiles;
      for (int64_t n = 0; n < s.out; ++n) {
        const auto row = w.row(n);
        for (int64_t m = 0; m < s.rows; ++m)
          ASSERT_EQ(y[m * s.out + n], bf16_reference(row, &x[1 + m * s.in], s.in, bias[n]))
              << kind.name() << " row " << m << " of " << s.rows << ", output " << n;
      }
    }
  }
  EXPECT_EQ(by_tiles, 6 * 5) << "shapes of the formats with blocks of 256";
}

// Where a target has nothing better it is the product of int8.
TEST(LinearFast, WithoutTilesItIsTheProductOfInt8) {
  const Shape s = {5, 256, 17};
  const RandomWeight w = make_weight({WeightFormat::kQ4_K}, s, 4);
  const auto x = random_floats(s.rows * s.in, 5);
  for (const auto* table : all_tables()) {
    const bool same = run(w, s, x.data(), s.rows, nullptr, Product::kFast, *table) ==
                      run(w, s, x.data(), s.rows, nullptr, Product::kInt8, *table);
    EXPECT_EQ(same, std::string(table->name) != "amx") << table->name;
  }
}

TEST(KernelTable, AnUnknownNameIsNoTable) { EXPECT_EQ(kernels_named("sse9"), nullptr); }

}  // namespace
}  // namespace genkit::kernels

#include "genkit/kernels/panels.h"

#include <gtest/gtest.h>

#include "genkit/kernels/linear.h"
#include "tests/kernels/kernel_test.h"

namespace genkit::kernels {
namespace {

using namespace testing;

struct PanelKind {
  WeightFormat format;
  int bits = 0, group_size = 0;
  WeightFormat scales = WeightFormat::kF16;
};

std::vector<PanelKind> kinds_with_panels() {
  using F = WeightFormat;
  return {{F::kQ4_0},
          {F::kQ4_1},
          {F::kQ5_0},
          {F::kQ5_1},
          {F::kQ8_0},
          {F::kQ4_K},
          {F::kQ5_K},
          {F::kQ6_K},
          {F::kAffine, 4, 32, F::kF32},
          {F::kAffine, 4, 64, F::kF16},
          {F::kAffine, 4, 128, F::kBF16},
          {F::kAffine, 8, 32, F::kF32},
          {F::kAffine, 8, 64, F::kBF16},
          {F::kAffine, 8, 128, F::kF16}};
}

std::vector<float> product(WeightRows w, PanelCache* cache, int64_t out, const std::vector<float>& x,
                           int64_t rows, const float* bias, const KernelTable& table) {
  std::vector<float> y(static_cast<size_t>(rows * out), -1);
  linear(x.data(), rows, w.in, {{w, out, bias, y.data(), Product::kInt8, cache}}, table);
  return y;
}

TEST(Panels, GiveTheBitsOfTheWeightTheyWereMadeOf) {
  for (const PanelKind& kind : kinds_with_panels()) {
    for (const auto [in, out] : {std::pair<int64_t, int64_t>{384, 50}, {128, 16}, {1152, 3}, {768, 35}}) {
      if (traits(kind.format).block_values == 256 && in % 256 != 0) continue;
      const RandomWeight w(kind.format, out, in, 3, kind.bits, kind.group_size, kind.scales);
      const auto bias = random_floats(out, 5);
      for (const auto* table : all_tables()) {
        PanelCache cache;
        ASSERT_NE(cache.get(w.rows(), out, *table), nullptr)
            << table->name << " " << traits(kind.format).name;
        for (const int64_t rows : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 70}) {
          const auto x = random_floats(rows * in, 4);
          const auto plain = product(w.rows(), nullptr, out, x, rows, bias.data(), *table);
          ASSERT_EQ(product(w.rows(), &cache, out, x, rows, bias.data(), *table), plain)
              << table->name << " " << traits(kind.format).name << " bits " << kind.bits << " rows " << rows;
          const WithThreads threads(3);
          ASSERT_EQ(product(w.rows(), &cache, out, x, rows, bias.data(), *table), plain) << table->name;
        }
      }
    }
  }
}

// Codes and activations at their ends, where sums in 16 bits would overflow first.
TEST(Panels, TheLargestCodesDoNotOverflow) {
  constexpr int64_t kIn = 256, kOut = 17;
  for (const PanelKind& kind : kinds_with_panels()) {
    RandomWeight w(kind.format, kOut, kIn, 11, kind.bits, kind.group_size, kind.scales);
    for (const int byte : {0x00, 0x7f, 0x80, 0xff}) {
      w.fill(static_cast<uint8_t>(byte), 12);
      for (const auto* table : all_tables()) {
        PanelCache cache;
        for (const int64_t rows : {1, 4, 8, 18}) {
          std::vector<float> x(rows * kIn);
          for (size_t i = 0; i < x.size(); ++i) x[i] = i / kIn % 2 == 0 ? 1.0f : -1.0f;
          ASSERT_EQ(product(w.rows(), &cache, kOut, x, rows, nullptr, *table),
                    product(w.rows(), nullptr, kOut, x, rows, nullptr, *table))
              << table->name << " " << traits(kind.format).name << " byte " << byte << " rows " << rows;
        }
      }
    }
  }
}

TEST(Panels, ExpertsReadTheirsOutOfTheStack) {
  const auto& table = active_table();
  constexpr int64_t kExperts = 3, kIn = 64, kTokens = 5, kChoices = 2;
  for (const int64_t out : {32, 24}) {  // of 24 rows, experts begin within a panel, and none are used
    const RandomWeight w(WeightFormat::kQ5_0, kExperts * out, kIn, 6);
    const auto x = random_floats(kTokens * kIn, 7);
    const std::vector<int32_t> experts = {0, 1, 2, 0, 1, 2, 2, 1, 0, 2};
    PanelCache cache;
    std::vector<float> y[2];
    for (int with = 0; with < 2; ++with) {
      ExpertTask task;
      task.x = x.data();
      task.tokens = kTokens;
      task.choices = kChoices;
      task.experts = experts.data();
      task.weight = w.rows();
      if (with) task.cache = &cache;
      task.num_experts = kExperts;
      task.out = out;
      y[with].resize(kTokens * kChoices * out);
      task.y = y[with].data();
      task.product = Product::kInt8;
      expert_linear(task, table);
    }
    EXPECT_EQ(y[0], y[1]);
  }
}

TEST(Panels, BelongToOneWeightAndOneTable) {
  const RandomWeight w(WeightFormat::kQ8_0, 32, 64, 8), other(WeightFormat::kQ8_0, 32, 64, 9);
  const auto& table = *kernels_named("portable");
  PanelCache cache;
  const uint8_t* panels = cache.get(w.rows(), 32, table);
  ASSERT_NE(panels, nullptr);
  EXPECT_EQ(cache.get(w.rows(), 32, table), panels);
  EXPECT_EQ(cache.get(w.rows(), 16, table), nullptr);
  EXPECT_EQ(cache.get(other.rows(), 32, table), nullptr);
  const KernelTable copy = table;
  EXPECT_EQ(cache.get(w.rows(), 32, copy), nullptr);
}

TEST(Panels, FormatsWithoutThemHaveNone) {
  for (const WeightFormat format : {WeightFormat::kQ2_K, WeightFormat::kIQ4_NL, WeightFormat::kMXFP4}) {
    const RandomWeight w(format, 16, 256, 10);
    PanelCache cache;
    EXPECT_EQ(cache.get(w.rows(), 16, active_table()), nullptr) << traits(format).name;
  }
}

}  // namespace
}  // namespace genkit::kernels

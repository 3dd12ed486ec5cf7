#include "genkit/kernels/layers.h"

#include <gtest/gtest.h>

#include <functional>

#include "genkit/kernels/sampling.h"
#include "tests/kernels/kernel_test.h"

namespace genkit::kernels {
namespace {

using namespace testing;

// Distance in units in the last place of the expected number.
double ulps(float actual, double expected) {
  const float rounded = static_cast<float>(expected);
  const double unit =
      std::max<double>(std::nextafter(std::abs(rounded), INFINITY) - std::abs(rounded), 1e-45);
  return std::abs(actual - expected) / unit;
}

double truth(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return x / (1 + std::exp(-x));
    case ActivationKind::kGelu:
      return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case ActivationKind::kRelu:
      return std::max(x, 0.0);
    case ActivationKind::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    default:
      return x;
  }
}

std::vector<float> range(float from, float to, int count) {
  std::vector<float> x(count);
  for (int i = 0; i < count; ++i) x[i] = from + (to - from) * i / (count - 1);
  return x;
}

TEST(Activate, IsNearTheTruthOverTheWholeRange) {
  for (const auto* table : all_tables()) {
    for (const auto kind : {ActivationKind::kSilu, ActivationKind::kGelu, ActivationKind::kGeluTanh,
                            ActivationKind::kRelu, ActivationKind::kQuickGelu, ActivationKind::kIdentity}) {
      const auto x = range(-30, 30, 100003);
      std::vector<float> y(x.size());
      activate(kind, x.data(), nullptr, x.size(), y.data(), *table);
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        // Where a gelu approaches zero from below only the absolute error means something.
        const double expected = truth(kind, x[i]);
        worst = std::max(worst, std::abs(y[i] - expected) / std::max(1.0, std::abs(double{x[i]})));
      }
      EXPECT_LT(worst, 1.5e-7) << table->name << " " << int(kind);
    }
  }
}

TEST(Activate, SiluIsWithinFourUnitsInTheLastPlace) {
  // Which needs exp within two; below -86 the result is flushed to zero.
  for (const auto* table : all_tables()) {
    const auto x = range(-85, 85, 200001);
    std::vector<float> y(x.size());
    activate(ActivationKind::kSilu, x.data(), nullptr, x.size(), y.data(), *table);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
      worst = std::max(worst, ulps(y[i], truth(ActivationKind::kSilu, x[i])));
    EXPECT_LT(worst, 4) << table->name;
  }
}

TEST(Activate, KeepsWhatIsNoNumberAndTheEnds) {
  const std::vector<float> x = {NAN, INFINITY, -INFINITY, 0.0f, 1e30f, -1e30f};
  for (const auto* table : all_tables()) {
    for (const auto kind :
         {ActivationKind::kSilu, ActivationKind::kGelu, ActivationKind::kGeluTanh, ActivationKind::kRelu}) {
      std::vector<float> y(x.size());
      activate(kind, x.data(), nullptr, x.size(), y.data(), *table);
      EXPECT_TRUE(std::isnan(y[0])) << table->name << " " << int(kind);
      EXPECT_EQ(y[1], INFINITY) << table->name << " " << int(kind);
      EXPECT_EQ(y[3], 0) << table->name << " " << int(kind);
      EXPECT_EQ(y[4], 1e30f) << table->name << " " << int(kind);
      EXPECT_EQ(y[5], 0) << table->name << " " << int(kind);
    }
  }
}

TEST(Softcap, IsWithinFiveUnitsInTheLastPlace) {
  for (const auto* table : all_tables()) {
    const auto x = range(-200, 200, 100001);
    std::vector<float> y(x.size());
    softcap(x.data(), x.size(), 30.0f, y.data(), *table);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
      worst = std::max(worst, ulps(y[i], 30.0 * std::tanh(double{x[i]} / 30.0)));
    EXPECT_LT(worst, 5) << table->name;
  }
}

TEST(Norms, AreNearTheTruthOnOddSizesAndMisalignedRows) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 5, 16, 31, 640, 4099}) {
      const int rows = 3;
      auto x = random_floats(rows * n + 1, 1, 3.0f);
      for (float& v : x) v += 5;
      const auto w = random_floats(n + 1, 2), b = random_floats(n + 1, 3);
      std::vector<float> rms(rows * n), layer(rows * n);
      rms_norm(x.data() + 1, rows, n, {w.data() + 1, nullptr, 1e-6f, 1.0f}, rms.data(), *table);
      layer_norm(x.data() + 1, rows, n, {w.data() + 1, b.data() + 1, 1e-5f, 0}, layer.data(), *table);
      for (int r = 0; r < rows; ++r) {
        const float* row = x.data() + 1 + r * n;
        double square = 0, mean = 0, variance = 0;
        for (int i = 0; i < n; ++i) square += double{row[i]} * row[i], mean += row[i];
        mean /= n;
        for (int i = 0; i < n; ++i) variance += (row[i] - mean) * (row[i] - mean);
        for (int i = 0; i < n; ++i) {
          const double expected = row[i] / std::sqrt(square / n + 1e-6) * (1.0 + w[1 + i]);
          ASSERT_NEAR(rms[r * n + i], expected, 4e-7 * (1 + std::abs(expected))) << table->name << " " << n;
          const double centred = (row[i] - mean) / std::sqrt(variance / n + 1e-5) * w[1 + i] + b[1 + i];
          // The rounding of the mean, near 5, is divided by the deviation.
          ASSERT_NEAR(layer[r * n + i], centred, (n == 1 ? 1e-4 : 4e-6) * (1 + std::abs(centred)))
              << table->name << " " << n;
        }
      }
    }
  }
}

TEST(Rope, IsTheRotationInDoublePrecision) {
  const int half = 20, dim = 48, heads = 3;
  const std::vector<int32_t> positions = {0, 7, 513, 100000};
  std::vector<float> freq;
  for (int i = 0; i < half; ++i) freq.push_back(std::pow(10000.0f, -float(i) / half));
  const auto x = random_floats(positions.size() * heads * dim, 4);
  for (const auto* table : all_tables()) {
    for (const bool interleaved : {false, true}) {
      std::vector<float> y(x.size());
      rope(x.data(), {4, heads, dim, freq.data(), half, positions.data(), 1.5f, interleaved}, y.data(),
           *table);
      for (size_t t = 0; t < positions.size(); ++t) {
        for (int h = 0; h < heads; ++h) {
          const size_t at = (t * heads + h) * dim;
          for (int i = 0; i < half; ++i) {
            const size_t first = at + (interleaved ? 2 * i : i),
                         second = at + (interleaved ? 2 * i + 1 : half + i);
            const double angle = float(positions[t]) * freq[i], c = 1.5 * std::cos(angle),
                         s = 1.5 * std::sin(angle);
            ASSERT_NEAR(y[first], x[first] * c - x[second] * s, 2e-6) << table->name;
            ASSERT_NEAR(y[second], x[second] * c + x[first] * s, 2e-6) << table->name;
          }
          for (int i = 2 * half; i < dim; ++i) ASSERT_EQ(y[at + i], x[at + i]);
        }
      }
    }
  }
}

TEST(Sampling, ArgmaxTakesTheFirstLargestAndPassesOverNaN) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 15, 16, 17, 70000}) {
      auto x = random_floats(n, 5);
      x[n / 2] = x[n - 1] = 50;
      EXPECT_EQ(argmax(x.data(), n, *table), n / 2) << table->name << " " << n;
      if (n > 2) x[0] = x[n / 2 + 1] = NAN;
      x[n - 1] = 51;
      EXPECT_EQ(argmax(x.data(), n, *table), n - 1) << table->name << " " << n;
    }
    const std::vector<float> nothing(40, -INFINITY), none(40, NAN);
    EXPECT_EQ(argmax(nothing.data(), 40, *table), 0);
    EXPECT_EQ(argmax(none.data(), 40, *table), 0);
  }
}

TEST(Sampling, LogSumExpIsNearTheTruthAndTheSameOnAnyThreads) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 33, 262144}) {
      const auto x = random_floats(n, 6, 4.0f);
      double total = 0;
      for (const float v : x) total += std::exp(double{v});
      const float y = log_sum_exp(x.data(), n, *table);
      EXPECT_NEAR(y, std::log(total), 2e-6 * (1 + std::abs(std::log(total)))) << table->name;
      const WithThreads threads(3);
      EXPECT_EQ(log_sum_exp(x.data(), n, *table), y);
    }
    const std::vector<float> nothing(40, -INFINITY);
    EXPECT_EQ(log_sum_exp(nothing.data(), 40, *table), -INFINITY);
  }
}

TEST(Sampling, TopNIsTheSortedHead) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 40, 5000, 262144}) {
      auto x = random_floats(n, 7);
      for (int i = 0; i < n; i += 7) x[i] = std::round(x[i]);  // many ties
      for (int i = 3; i < n; i += 11) x[i] = -INFINITY;
      std::vector<int32_t> order;
      for (int i = 0; i < n; ++i) {
        if (x[i] > -INFINITY) order.push_back(i);
      }
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return x[a] > x[b]; });
      for (const int count : {0, 1, 50, 1000, 300000}) {
        auto expected = order;
        expected.resize(std::min<size_t>(expected.size(), count));
        ASSERT_EQ(top_n(x.data(), n, count, *table), expected) << table->name << " " << n << " " << count;
      }
    }
  }
}

TEST(Sampling, MaximaTellWhereTheLargeNumbersAre) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 15, 255, 256, 257, 70001}) {
      auto numbers = random_floats(n + 1, 8);
      const float* x = numbers.data() + 1;  // misaligned
      if (n > 20) numbers[7] = -INFINITY;
      const Maxima known = maxima(x, n, *table);
      EXPECT_TRUE(known.below_infinity);
      EXPECT_EQ(known.top, *std::max_element(x, x + n));
      for (size_t s = 0; s < known.tops.size(); ++s) {
        float lanes[16];
        std::fill(lanes, lanes + 16, -INFINITY);
        for (int i = 256 * static_cast<int>(s); i < n && i < 256 * static_cast<int>(s + 1); ++i)
          lanes[i % 16] = std::max(lanes[i % 16], x[i]);
        EXPECT_TRUE(std::equal(lanes, lanes + 16, known.lanes.data() + 16 * s)) << table->name << " " << n;
        EXPECT_EQ(known.tops[s], *std::max_element(lanes, lanes + 16)) << table->name << " " << n;
      }
      for (const float bound : {-INFINITY, -1.0f, 2.0f, known.top}) {
        std::vector<int32_t> expected;
        for (int i = 0; i < n; ++i) {
          if (x[i] > bound) expected.push_back(i);
        }
        const auto size = static_cast<int64_t>(expected.size());
        EXPECT_EQ(indices_above(x, n, bound, size, known, *table), expected) << table->name << " " << n;
        if (size > 0) EXPECT_FALSE(indices_above(x, n, bound, size - 1, known, *table));
      }
      for (const float odd : {NAN, INFINITY}) {
        numbers[static_cast<size_t>(n)] = odd;
        EXPECT_FALSE(maxima(x, n, *table).below_infinity) << table->name << " " << n;
      }
    }
  }
}

TEST(Sampling, MomentsAndHistogramAreNearTheTruthAndTheSameOnAnyThreads) {
  for (const auto* table : all_tables()) {
    for (const int n : {1, 17, 4097, 50001}) {
      auto numbers = random_floats(n + 1, 9, 3.0f);
      const float* x = numbers.data() + 1;
      if (n > 20) numbers[5] = -INFINITY;
      const float top = *std::max_element(x, x + n), center = top - 2, scale = 40;
      double sum = 0, weighted = 0;
      std::vector<double> bins(kHistogramBins);
      for (int i = 0; i < n; ++i) {
        if (x[i] == -INFINITY) continue;
        const double mass = std::exp(double{x[i]} - top);
        sum += mass;
        weighted += mass * (double{top} - x[i]);
        bins[static_cast<size_t>(histogram_bin(x[i], center, scale))] += mass;
      }
      const Moments got = moments(x, n, top, *table);
      EXPECT_NEAR(got.sum, sum, 2e-6 * sum) << table->name << " " << n;
      EXPECT_NEAR(got.weighted, weighted, 2e-6 * sum * 10) << table->name << " " << n;
      EXPECT_NEAR(got.log_sum_exp(), top + std::log(sum), 3e-6);
      EXPECT_NEAR(got.entropy(), std::log(sum) + weighted / sum, 2e-5);
      const MassHistogram histogram = mass_histogram(x, n, top, center, scale, *table);
      for (size_t b = 0; b < bins.size(); ++b) {
        EXPECT_NEAR(histogram[b], bins[b], 2e-6 * (bins[b] + 1e-3)) << table->name << " " << n << " " << b;
      }
      const WithThreads threads(3);
      EXPECT_EQ(moments(x, n, top, *table).weighted, got.weighted);
      EXPECT_EQ(mass_histogram(x, n, top, center, scale, *table), histogram);
    }
  }
}

TEST(Sampling, DivideRoundsOnce) {
  for (const auto* table : all_tables()) {
    auto x = random_floats(40001, 10, 5.0f);
    x[3] = -INFINITY;
    auto y = x;
    divide(y.data() + 1, 40000, 0.7f, *table);
    for (size_t i = 1; i <= 40000; ++i) ASSERT_EQ(y[i], x[i] / 0.7f) << table->name << " " << i;
  }
}

TEST(Layers, TheThreadsDoNotChangeABit) {
  const auto x = random_floats(70000, 8), up = random_floats(70000, 9);
  std::vector<float> one(x.size()), many(x.size());
  auto both = [&](const std::function<void(float*)>& work) {
    {
      const WithThreads threads(1);
      work(one.data());
    }
    const WithThreads threads(3);
    work(many.data());
    EXPECT_EQ(one, many);
  };
  both([&](float* y) { activate(ActivationKind::kGeluTanh, x.data(), up.data(), x.size(), y); });
  both([&](float* y) { rms_norm(x.data(), 100, 700, {up.data(), nullptr, 1e-6f, 0}, y); });
}

}  // namespace
}  // namespace genkit::kernels

#include "genkit/logits/selection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "genkit/logits/occurrences.h"

namespace genkit::logits {
namespace {

std::vector<float> random_values(size_t count, unsigned seed, float step) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> out(count);
  // Rounding makes ties, which is where selections go wrong.
  for (float& v : out) v = step > 0 ? std::round(normal(generator) / step) * step : normal(generator);
  return out;
}

TEST(Selection, KthLargestEqualsSorting) {
  for (const size_t count : {1u, 2u, 7u, 1000u, 5000u}) {
    for (const float step : {0.0f, 0.5f}) {
      std::vector<float> values = random_values(count, 5, step);
      std::vector<float> sorted = values;
      std::sort(sorted.rbegin(), sorted.rend());
      const Scores scores(values);
      for (const int k : {1, 2, 50, 511, 513, 4000}) {
        const float expected = static_cast<size_t>(k) <= count ? sorted[k - 1] : kRemoved;
        EXPECT_EQ(kth_largest(scores, k), expected) << count << " " << k;
      }
    }
  }
}

TEST(Selection, LargestIsSortedWithTheLowerIdFirst) {
  const std::vector<float> values = {1, 3, 2, 3, kRemoved};
  const std::vector<std::pair<int32_t, float>> expected = {{1, 3.0f}, {3, 3.0f}, {2, 2.0f}};
  EXPECT_EQ(largest(values, 3), expected);
  EXPECT_EQ(largest(values, 99).size(), 5u);
  EXPECT_TRUE(largest(values, 0).empty());
}

TEST(Selection, PrefixByMassEqualsSorting) {
  for (const float step : {0.0f, 0.5f}) {
    const std::vector<float> values = random_values(9000, 9, step);
    std::vector<Weighted> entries;
    for (size_t i = 0; i < values.size(); ++i)
      entries.push_back({values[i], 1.0 / 9000, static_cast<int32_t>(i)});
    std::vector<Weighted> sorted = entries;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const Weighted& a, const Weighted& b) { return a.key < b.key; });
    for (const double limit : {0.0, 0.1, 0.5, 0.999, 2.0}) {
      std::vector<Weighted> work = entries;
      const size_t count = prefix_by_mass(work, [&](double sum) { return sum <= limit + 1e-9; });
      EXPECT_EQ(count, std::min<size_t>(9000, static_cast<size_t>(limit * 9000 + 1e-5)));
      std::vector<int32_t> got, expected;
      for (size_t i = 0; i < count; ++i) {
        got.push_back(work[i].id);
        expected.push_back(sorted[i].id);
      }
      std::sort(got.begin(), got.end());
      std::sort(expected.begin(), expected.end());
      EXPECT_EQ(got, expected) << limit;
    }
  }
}

TEST(Selection, OccurrencesAreCountedOnceAnId) {
  std::mt19937 random(8);
  for (const int count : {0, 1, 2, 1000}) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % 300) << (i % 3 * 9));
    std::map<int32_t, int> expected;
    for (const int32_t id : ids) ++expected[id];
    std::map<int32_t, int> got;
    for (const Occurrence& one : occurrences(ids)) EXPECT_TRUE(got.emplace(one.id, one.count).second);
    EXPECT_EQ(got, expected);
  }
}

TEST(Selection, LogSumExpOfNothingAndOfNan) {
  const std::vector<float> none(4, kRemoved), nan = {1, NAN, 2}, all_nan = {NAN, NAN}, large = {1000, 1000};
  EXPECT_EQ(log_sum_exp(none), kRemoved);
  EXPECT_TRUE(std::isnan(log_sum_exp(nan)));
  EXPECT_TRUE(std::isnan(log_sum_exp(all_nan)));
  EXPECT_NEAR(log_sum_exp(large), 1000 + std::log(2.0), 1e-6);
}

TEST(Selection, LargestMappedFindsWhatSortingAllMappedValuesFinds) {
  std::mt19937 random(31);
  std::normal_distribution<float> normal(0, 3);
  int answered = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<float> values(1 + random() % 5000);
    for (float& v : values) v = round % 3 ? normal(random) : std::round(normal(random) * 20) / 20;
    // Rounding to a coarse grid makes ties that the values do not have.
    const float grid = round % 2 ? 0.0f : 0.01f;
    const auto map = [&](float v) { return grid > 0 ? std::floor(v / grid) : v - 7; };
    std::vector<float> mapped;
    for (const float v : values) mapped.push_back(map(v));
    const int n = 1 + static_cast<int>(random() % 12);
    const auto got = largest_mapped(values, n, map);
    if (got.empty()) continue;
    ++answered;
    EXPECT_EQ(got, largest(mapped, n));
  }
  EXPECT_GT(answered, 100);
  const std::vector<float> few = {1, kRemoved, 2};
  EXPECT_TRUE(largest_mapped(few, 3, [](float v) { return v; }).empty());
}

}  // namespace
}  // namespace genkit::logits

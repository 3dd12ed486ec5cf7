#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

using Block = std::array<uint32_t, 4>;

// The known answers of Random123's kat_vectors for philox4x32-10.
TEST(Philox, EqualsThePublishedVectors) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, DiffersInEveryPartOfTheKeyAndStaysBelowOne) {
  const double base = uniform({1, 2, 3});
  EXPECT_EQ(base, uniform({1, 2, 3}));
  EXPECT_NE(base, uniform({2, 2, 3}));
  EXPECT_NE(base, uniform({uint64_t{1} << 40 | 1, 2, 3}));
  EXPECT_NE(base, uniform({1, 3, 3}));
  EXPECT_NE(base, uniform({1, uint64_t{1} << 33 | 2, 3}));
  EXPECT_NE(base, uniform({1, 2, 4}));
  EXPECT_NE(base, uniform({1, 2, 3}, 1));
  double sum = 0;
  for (uint64_t step = 0; step < 10000; ++step) {
    const double u = uniform({7, 0, step});
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.015);  // five standard deviations
}

/// Chi-square of draws against softmax(scores).
double chi_square(std::vector<float> values, bool over_rows, int draws) {
  const Scores scores(values);
  const double norm = log_sum_exp(scores);
  std::vector<int> counts(values.size());
  for (int i = 0; i < draws; ++i) {
    const auto at = static_cast<uint64_t>(i);
    ++counts[sample(scores, over_rows ? DrawKey{11, at, 0} : DrawKey{11, 0, at})];
  }
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = std::exp(values[i] - norm) * draws;
    if (values[i] == kRemoved) {
      EXPECT_EQ(counts[i], 0);
    } else {
      sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
  }
  return sum;
}

TEST(Sample, FrequenciesFollowTheDistribution) {
  // 7 degrees of freedom: 29.9 is passed once in 10,000 times; the draws are fixed by the seed.
  const std::vector<float> values = {0.5f, -1, 2, kRemoved, 0, 1.5f, -2, 0.1f, 1};
  EXPECT_LT(chi_square(values, false, 20000), 29.9);
  EXPECT_LT(chi_square(values, true, 20000), 29.9);
}

TEST(Sample, AfterAWarperDrawsOnlyFromWhatIsLeft) {
  std::vector<float> values = {3, 1, 2, 0, 2.5f};
  Scores scores(values);
  top_k(2)->apply({}, scores);
  for (uint64_t step = 0; step < 200; ++step) {
    const int32_t id = sample(scores, {1, 0, step});
    EXPECT_TRUE(id == 0 || id == 4) << id;
  }
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no exception)";
}

TEST(Choose, SaysWhyNothingCanBeChosen) {
  std::vector<float> nan = {1, NAN}, none = {kRemoved, kRemoved}, infinite = {1, INFINITY};
  EXPECT_THAT(error_of([&] { argmax(Scores(nan)); }), testing::HasSubstr("not a number"));
  EXPECT_THAT(error_of([&] { sample(Scores(nan), {}); }), testing::HasSubstr("not a number"));
  EXPECT_THAT(error_of([&] { argmax(Scores(none)); }), testing::HasSubstr("every token is removed"));
  EXPECT_THAT(error_of([&] { sample(Scores(infinite), {}); }), testing::HasSubstr("infinite"));
  EXPECT_EQ(argmax(Scores(infinite)), 1);
}

TEST(Choose, ArgmaxTakesTheLowestOfTied) {
  std::vector<float> values = {0, 5, 5};
  EXPECT_EQ(argmax(Scores(values)), 1);
}

}  // namespace
}  // namespace genkit::logits

// Directions between two sets of points, held against properties that define them.
#include "genkit/steering/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "genkit/base/error.h"
#include "genkit/steering/linear_fits.h"

namespace genkit::steering {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double cosine(const Vector& a, const Vector& b) { return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b)); }

/// Pairs whose positives lie `shift` further along coordinate 0; `noise` everywhere, common to a pair
/// but for `own`.
Samples pairs(size_t count, size_t size, double shift, double noise, double own, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Samples s{.positive = {}, .negative = {}, .size = size, .paired = true};
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < size; ++k) {
      const double common = noise * normal(generator);
      s.positive.push_back(static_cast<float>(common + own * normal(generator) + (k == 0 ? shift : 0)));
      s.negative.push_back(static_cast<float>(common + own * normal(generator)));
    }
  }
  return s;
}

Points random_points(size_t count, size_t size, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Points points{.size = size, .values = Vector(count * size)};
  for (size_t i = 0; i < points.values.size(); ++i) {
    points.values[i] = normal(generator) * (1 + 2.0 / (1 + static_cast<double>(i % size)));
  }
  return points;
}

double square_along(const Points& points, const Vector& v) {
  double sum = 0;
  for (size_t i = 0; i < points.count(); ++i) sum += points.dot(i, v) * points.dot(i, v);
  return sum;
}

TEST(Eigen, OfMatricesKnownByHand) {
  const Eigen two = largest_eigen({2, 1, 1, 2}, 2);
  EXPECT_NEAR(two.value, 3, 1e-14);
  EXPECT_NEAR(std::abs(two.vector[0]), std::sqrt(0.5), 1e-14);
  EXPECT_NEAR(two.vector[0], two.vector[1], 1e-14);
  const Eigen diagonal = largest_eigen({-5, 0, 0, 0, 1, 0, 0, 0, 4}, 3);
  EXPECT_NEAR(diagonal.value, 4, 1e-15);
  EXPECT_NEAR(std::abs(diagonal.vector[2]), 1, 1e-15);
}

TEST(Eigen, SatisfiesItsDefinition) {
  for (const size_t n : {1, 2, 7, 40}) {
    const Points points = random_points(n, n, static_cast<unsigned>(n));
    Vector matrix(n * n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) matrix[i * n + j] = points.values[i * n + j] + points.values[j * n + i];
    }
    const Eigen eigen = largest_eigen(matrix, n);
    double trace = 0;
    for (size_t i = 0; i < n; ++i) {
      double image = 0;
      for (size_t j = 0; j < n; ++j) image += matrix[i * n + j] * eigen.vector[j];
      EXPECT_NEAR(image, eigen.value * eigen.vector[i], 1e-11 * (1 + std::abs(eigen.value)));
      trace += matrix[i * n + i];
    }
    EXPECT_GE(eigen.value, trace / static_cast<double>(n) - 1e-12);
  }
}

TEST(PrincipalAxis, NoDirectionHoldsMore) {
  // Below and above the border between the two ways of computing it, more and fewer points than coordinates.
  for (const auto& [count, size] : {std::pair{3, 50}, {60, 20}, {256, 9}, {257, 9}, {600, 30}, {300, 4}}) {
    const Points points = random_points(static_cast<size_t>(count), static_cast<size_t>(size), 11);
    const Vector axis = principal_axis(points, Vector(static_cast<size_t>(size), 0.0));
    EXPECT_NEAR(dot(axis, axis), 1, 1e-12);
    const double most = square_along(points, axis);
    std::mt19937 generator(2);
    std::normal_distribution<double> normal;
    for (int i = 0; i < 50; ++i) {
      Vector near = axis;
      for (double& x : near) x += 0.01 * normal(generator);
      const double length = std::sqrt(dot(near, near));
      for (double& x : near) x /= length;
      EXPECT_LE(square_along(points, near), most * (1 + 1e-12)) << count << " x " << size;
    }
  }
}

TEST(PrincipalAxis, BothWaysGiveTheSame) {
  // The same points and then many of length 0: the scatter is the same, the way of computing is not.
  Points few = random_points(200, 24, 4), many = few;
  many.values.resize(300 * 24, 0.0);
  const Vector start(24, 0.0);
  EXPECT_GT(std::abs(cosine(principal_axis(few, start), principal_axis(many, start))), 1 - 1e-12);
}

TEST(Directions, AllMethodsFindAShift) {
  const Samples s = pairs(40, 12, 3, 1, 0.3, 7);
  Vector first(12, 0.0);
  first[0] = 1;
  for (const Method method :
       {Method::kMeanDifference, Method::kPcaDifferences, Method::kPcaCentred, Method::kLogistic}) {
    const Fit fit = fit_direction(s, method);
    EXPECT_GT(cosine(fit.direction, first), 0.9) << to_string(method);
    if (method != Method::kMeanDifference) EXPECT_NEAR(dot(fit.direction, fit.direction), 1, 1e-9);
    EXPECT_GT(fit.explained_variance, 0.1);
    EXPECT_LE(fit.explained_variance, 1);
    const auto held_out = cross_validate(s, method);
    ASSERT_TRUE(held_out);
    EXPECT_GT(held_out->auc, 0.9) << to_string(method);
    EXPECT_GT(held_out->distance, 1) << to_string(method);
  }
  EXPECT_NEAR(fit_direction(s, Method::kMeanDifference).direction[0], 3, 0.2);
}

TEST(Directions, PointToThePositives) {
  Samples s = pairs(20, 6, 2, 0.5, 0.1, 3);
  for (const Method method :
       {Method::kMeanDifference, Method::kPcaDifferences, Method::kPcaCentred, Method::kLogistic}) {
    const Vector there = fit_direction(s, method).direction;
    std::swap(s.positive, s.negative);
    const Vector back = fit_direction(s, method).direction;
    std::swap(s.positive, s.negative);
    EXPECT_NEAR(cosine(there, back), -1, 1e-6) << to_string(method);
    EXPECT_GT(there[0], 0) << to_string(method);
  }
}

TEST(Directions, PairsCancelWhatTheyShare) {
  // What a pair shares is much larger than what tells its two apart.
  const Samples s = pairs(30, 10, 1, 20, 0.05, 9);
  EXPECT_GT(std::abs(fit_direction(s, Method::kPcaDifferences).direction[0]), 0.99);
  EXPECT_LT(std::abs(fit_direction(s, Method::kPcaCentred).direction[0]), 0.9);
  EXPECT_GT(fit_direction(s, Method::kPcaDifferences).explained_variance, 0.9);
}

TEST(Directions, LogisticRegressionIsAtItsMinimum) {
  Samples s{.positive = {2, 1, 3, 0.5f, 1, -1, 0.2f, 0.1f},
            .negative = {-1, 0, -2, 1, 0.3f, 0.4f, -1, -1},
            .size = 2};
  const Vector normal = fit_direction(s, Method::kLogistic).direction;
  EXPECT_NEAR(dot(normal, normal), 1, 1e-9);
  // Newton steps in numpy over the points centred and divided by their root mean square.
  EXPECT_NEAR(normal[0], 0.99691205, 1e-4);
  EXPECT_NEAR(normal[1], -0.07852624, 1e-4);
}

TEST(Directions, SamplesThatTellNothing) {
  const Samples same = pairs(5, 4, 0, 1, 0, 1);
  EXPECT_THAT([&] { fit_direction(same, Method::kMeanDifference); },
              ThrowsMessage<ArgumentError>("samples: positives and negatives do not differ"));
  Samples none{.positive = {1, 2}, .negative = {}, .size = 2};
  EXPECT_THAT([&] { fit_direction(none, Method::kMeanDifference); },
              ThrowsMessage<ArgumentError>(HasSubstr("at least one positive and one negative")));
  Samples unpaired = pairs(5, 4, 1, 1, 0, 1);
  unpaired.paired = false;
  EXPECT_THAT([&] { fit_direction(unpaired, Method::kPcaDifferences); },
              ThrowsMessage<ArgumentError>(HasSubstr("pca_diff needs pairs")));
  EXPECT_EQ(cross_validate(pairs(1, 4, 1, 1, 0.1, 1), Method::kMeanDifference), std::nullopt);
  EXPECT_THAT(
      [] { parse_method("pca_dif", "--method"); },
      ThrowsMessage<ArgumentError>("--method: expected mean_difference, pca_diff, pca_center, logistic, got "
                                   "pca_dif; did you mean `pca_diff`?"));
}

TEST(Directions, CrossValidationSeesThatNothingIsThere) {
  // Two samples of one distribution: in-sample they are told apart (40 coordinates, 10 points), held out not.
  double sum = 0;
  for (unsigned seed = 0; seed < 30; ++seed) {
    Samples s = pairs(10, 40, 0, 0, 1, seed + 100);
    s.paired = false;
    sum += cross_validate(s, Method::kMeanDifference)->auc;
  }
  EXPECT_NEAR(sum / 30, 0.5, 0.1);  // standard error 0.03
}

TEST(Auc, CountsPairsAndTies) {
  EXPECT_EQ(auc(Vector{2, 3}, Vector{0, 1}), 1);
  EXPECT_EQ(auc(Vector{0, 1}, Vector{2, 3}), 0);
  EXPECT_EQ(auc(Vector{1, 1}, Vector{1, 1}), 0.5);
  EXPECT_DOUBLE_EQ(auc(Vector{1, 2, 3}, Vector{2}), 0.5);
  EXPECT_DOUBLE_EQ(auc(Vector{1, 4}, Vector{2, 3, 0}), (1 + 3) / 6.0);
  EXPECT_THROW(auc(Vector{}, Vector{1}), ArgumentError);
}

}  // namespace
}  // namespace genkit::steering

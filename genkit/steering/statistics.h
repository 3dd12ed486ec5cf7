#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Directions that tell two sets of points apart. Plain arithmetic in double precision over float32
// points; deterministic.

namespace genkit::steering {

enum class Method : uint8_t {
  kMeanDifference,  ///< mean of the positives less mean of the negatives, at its own length
  kPcaDifferences,  ///< principal axis of the pairs' differences, about the origin
  kPcaCentred,      ///< principal axis of all points about their common mean
  kLogistic,        ///< normal of the plane that logistic regression puts between the classes
};
/// "mean_difference", "pca_diff", "pca_center", "logistic": as files and the command line spell it.
const char* to_string(Method method);
/// @throws ArgumentError naming `option` and the methods there are.
Method parse_method(std::string_view name, const std::string& option);

/// Points of two classes, row after row.
struct Samples {
  std::vector<float> positive;  ///< [positives, size]
  std::vector<float> negative;  ///< [negatives, size]
  size_t size = 0;
  /// Positive i and negative i are one pair: the same text in two ways. There are as many of each.
  bool paired = false;

  size_t positives() const { return size == 0 ? 0 : positive.size() / size; }
  size_t negatives() const { return size == 0 ? 0 : negative.size() / size; }
};

struct Fit {
  std::vector<double> direction;  ///< [size]; length 1 but for kMeanDifference; points to the positives
  double explained_variance = 0;  ///< @see fit_direction
};

/// A direction from the negatives to the positives.
///
/// kPcaDifferences takes no mean out of the differences, so that a difference that all pairs share
/// counts in full. repeng's pca_center (each pair centred at its own middle) has the same axis; its
/// pca_diff takes the mean of the differences out first. kLogistic has an L2 penalty of 1/2 |w|^2
/// against the sum of the losses, over points scaled to a mean square of 1 a coordinate, and an
/// intercept without penalty.
///
/// explained_variance: of pairs, the share of the differences' mean square that lies along the
/// direction; of unpaired sets and for kPcaCentred, that of the points' variance about their common mean.
/// @throws ArgumentError where a class is empty, where kPcaDifferences gets unpaired sets, and where
///         the points do not differ.
/// @source Marks and Tegmark 2023 (mean difference); Zou et al. 2023, "Representation Engineering",
///         llama.cpp tools/cvector-generator (PCA of differences).
Fit fit_direction(const Samples& samples, Method method);

struct Separation {
  /// Chance that a held-out positive projects higher than a held-out negative, ties counted half;
  /// mean over the folds.
  double auc = 0;
  /// (mean held-out positive - mean held-out negative) / standard deviation of the training points'
  /// projections within their classes; mean over the folds.
  double distance = 0;
};

/// How well the method tells points apart that it has not seen: cross-validation in up to `folds`
/// folds, sample i (pair i) in fold i mod folds. Nothing where a class has fewer than two samples.
std::optional<Separation> cross_validate(const Samples& samples, Method method, int folds = 5);

/// Share of pairs (positive, negative) in which the positive is larger, ties counted half.
/// @throws ArgumentError where one is empty.
double auc(std::span<const double> positive, std::span<const double> negative);

/// Eigenvalue and vector of a symmetric matrix [n, n], the largest: cyclic Jacobi rotations.
struct Eigen {
  double value = 0;
  std::vector<double> vector;  ///< [n], length 1
};
Eigen largest_eigen(std::vector<double> matrix, size_t n);

}  // namespace genkit::steering

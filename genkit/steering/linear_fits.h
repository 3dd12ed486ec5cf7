#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace genkit::steering {

/// Points in double precision, row after row.
struct Points {
  size_t size = 0;
  std::vector<double> values;  ///< [count, size]

  size_t count() const { return size == 0 ? 0 : values.size() / size; }
  std::span<const double> row(size_t i) const { return {values.data() + i * size, size}; }
  double dot(size_t i, std::span<const double> v) const;
};

/// Direction of length 1 along which the points' square sum about the origin is largest. Up to 256 points
/// through the eigenvectors of their Gram matrix (points are few, coordinates many), more by
/// subspace iteration until it moves by less than 1e-10.
/// @param start where the iteration begins, beside fixed directions; may be zero.
std::vector<double> principal_axis(const Points& points, const std::vector<double>& start);

/// Normal of length 1 of the plane of L2-penalised logistic regression: Newton steps, each solved by
/// conjugate gradients, over points scaled to a mean square of 1 a coordinate.
/// @param points centred. @param positives how many of the first rows are positive.
std::vector<double> logistic_normal(Points points, size_t positives);

}  // namespace genkit::steering

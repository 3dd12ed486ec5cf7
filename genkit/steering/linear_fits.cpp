#include "genkit/steering/linear_fits.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "genkit/steering/statistics.h"

namespace genkit::steering {

namespace {

using Vector = std::vector<double>;

constexpr size_t kGramPoints = 256;  // Jacobi takes n^3: 0.2 s at 256
constexpr size_t kSubspace = 8;      // the error falls by the ratio of the 9th to the 1st eigenvalue a turn
constexpr int kMostTurns = 2000;
constexpr double kSettled = 1e-10;

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// y += factor * x
void add(std::span<double> y, double factor, std::span<const double> x) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

bool normalise(Vector* v) {
  const double length = std::sqrt(dot(*v, *v));
  if (!(length > 0)) return false;
  for (double& x : *v) x /= length;
  return true;
}

/// X^T X v
Vector scatter_times(const Points& points, const Vector& v) {
  Vector out(points.size, 0.0);
  for (size_t i = 0; i < points.count(); ++i) add(out, points.dot(i, v), points.row(i));
  return out;
}

Vector axis_by_gram(const Points& points) {
  const size_t n = points.count();
  Vector gram(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) gram[i * n + j] = gram[j * n + i] = points.dot(i, points.row(j));
  }
  const Vector weights = largest_eigen(std::move(gram), n).vector;
  Vector axis(points.size, 0.0);
  for (size_t i = 0; i < n; ++i) add(axis, weights[i], points.row(i));
  normalise(&axis);
  return axis;
}

/// Makes the vectors orthonormal, in order; a vector that adds nothing becomes the next fixed one.
void orthonormalise(std::vector<Vector>* basis) {
  for (size_t i = 0; i < basis->size(); ++i) {
    Vector& v = (*basis)[i];
    for (size_t turn = 0;; ++turn) {
      const double before = std::sqrt(dot(v, v));
      for (int pass = 0; pass < 2; ++pass) {
        for (size_t j = 0; j < i; ++j) add(v, -dot(v, (*basis)[j]), (*basis)[j]);
      }
      if (std::sqrt(dot(v, v)) > 1e-12 * before && normalise(&v)) break;
      std::fill(v.begin(), v.end(), 0.0);
      v[(i + turn) % v.size()] = 1;
    }
  }
}

Vector axis_by_iteration(const Points& points, const Vector& start) {
  const size_t width = std::min(kSubspace, points.size);
  std::vector<Vector> basis(width, Vector(points.size, 0.0));
  basis[0] = start;
  for (size_t k = 1; k < width; ++k) {
    const auto row = points.row(k * (points.count() / width));
    basis[k].assign(row.begin(), row.end());
  }
  orthonormalise(&basis);
  Vector axis = basis[0];
  for (int turn = 0; turn < kMostTurns; ++turn) {
    std::vector<Vector> image;
    for (const Vector& v : basis) image.push_back(scatter_times(points, v));
    Vector small(width * width);  // the scatter seen in the basis
    for (size_t i = 0; i < width; ++i) {
      for (size_t j = 0; j < width; ++j) small[i * width + j] = dot(basis[i], image[j]);
    }
    for (size_t i = 0; i < width; ++i) {  // symmetric but for rounding
      for (size_t j = 0; j < i; ++j) {
        small[i * width + j] = small[j * width + i] = (small[i * width + j] + small[j * width + i]) / 2;
      }
    }
    const Vector weights = largest_eigen(std::move(small), width).vector;
    Vector next(points.size, 0.0);
    for (size_t i = 0; i < width; ++i) add(next, weights[i], basis[i]);
    normalise(&next);
    const double turned = 1 - std::abs(dot(next, axis));
    axis = next;
    if (turn > 0 && turned < kSettled * kSettled) break;
    basis = std::move(image);
    orthonormalise(&basis);
  }
  return axis;
}

/// Solves H x = b for a positive definite H that is known by its products.
Vector conjugate_gradients(const std::function<Vector(const Vector&)>& product, const Vector& b) {
  Vector x(b.size(), 0.0), rest = b, direction = b;
  double square = dot(rest, rest);
  const double enough = square * 1e-20;
  for (size_t turn = 0; turn < 2 * b.size() + 10 && square > enough && square > 0; ++turn) {
    const Vector image = product(direction);
    const double step = square / dot(direction, image);
    add(x, step, direction);
    add(rest, -step, image);
    const double next = dot(rest, rest);
    for (size_t i = 0; i < direction.size(); ++i) direction[i] = rest[i] + next / square * direction[i];
    square = next;
  }
  return x;
}

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

/// Penalised loss of logistic regression; the last entry of `w` is the intercept.
class LogisticLoss {
 public:
  LogisticLoss(const Points& points, size_t positives) : points_(points), positives_(positives) {}

  double value(const Vector& w) const {
    double sum = 0;
    for (size_t i = 0; i < points_.count(); ++i) sum += softplus(-sign(i) * score(i, w));
    return sum + dot(slopes(w), slopes(w)) / 2;
  }
  Vector gradient(const Vector& w) const {
    Vector out(w.begin(), w.end());
    out.back() = 0;
    for (size_t i = 0; i < points_.count(); ++i) {
      const double pull = -sign(i) / (1 + std::exp(sign(i) * score(i, w)));
      add({out.data(), points_.size}, pull, points_.row(i));
      out.back() += pull;
    }
    return out;
  }
  /// The Hessian at w, as a function.
  std::function<Vector(const Vector&)> hessian(const Vector& w) const {
    Vector curvature;
    for (size_t i = 0; i < points_.count(); ++i) {
      const double p = 1 / (1 + std::exp(-score(i, w)));
      curvature.push_back(p * (1 - p));
    }
    return [this, curvature](const Vector& v) {
      Vector out(v.begin(), v.end());
      // Where all points are told apart with certainty nothing bends along the intercept.
      out.back() = 1e-9 * v.back();
      for (size_t i = 0; i < points_.count(); ++i) {
        const double along = curvature[i] * score(i, v);
        add({out.data(), points_.size}, along, points_.row(i));
        out.back() += along;
      }
      return out;
    };
  }

 private:
  static std::span<const double> slopes(const Vector& w) { return {w.data(), w.size() - 1}; }
  double score(size_t i, const Vector& w) const { return points_.dot(i, slopes(w)) + w.back(); }
  double sign(size_t i) const { return i < positives_ ? 1.0 : -1.0; }
  const Points& points_;
  size_t positives_;
};

}  // namespace

double Points::dot(size_t i, std::span<const double> v) const {
  return std::inner_product(v.begin(), v.end(), values.begin() + static_cast<std::ptrdiff_t>(i * size), 0.0);
}

Eigen largest_eigen(std::vector<double> a, size_t n) {
  Vector v(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) v[i * n + i] = 1;
  double total = 0;
  for (const double x : a) total += x * x;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < i; ++j) off += 2 * a[i * n + j] * a[i * n + j];
    }
    if (off <= 1e-30 * total) break;
    for (size_t p = 0; p + 1 < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        const double apq = a[p * n + q];
        if (apq == 0) continue;
        // The rotation that makes a[p][q] zero, the smaller of the two angles.
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::hypot(theta, 1.0));
        const double c = 1 / std::hypot(t, 1.0), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double kp = a[k * n + p], kq = a[k * n + q];
          a[k * n + p] = c * kp - s * kq;
          a[k * n + q] = s * kp + c * kq;
        }
        for (size_t k = 0; k < n; ++k) {
          const double pk = a[p * n + k], qk = a[q * n + k];
          a[p * n + k] = c * pk - s * qk;
          a[q * n + k] = s * pk + c * qk;
          const double vp = v[k * n + p], vq = v[k * n + q];
          v[k * n + p] = c * vp - s * vq;
          v[k * n + q] = s * vp + c * vq;
        }
      }
    }
  }
  size_t best = 0;
  for (size_t i = 1; i < n; ++i) {
    if (a[i * n + i] > a[best * n + best]) best = i;
  }
  Eigen out{.value = n == 0 ? 0.0 : a[best * n + best], .vector = Vector(n)};
  for (size_t k = 0; k < n; ++k) out.vector[k] = v[k * n + best];
  return out;
}

std::vector<double> principal_axis(const Points& points, const std::vector<double>& start) {
  return points.count() <= kGramPoints ? axis_by_gram(points) : axis_by_iteration(points, start);
}

std::vector<double> logistic_normal(Points points, size_t positives) {
  double square = 0;
  for (const double x : points.values) square += x * x;
  const double scale = std::sqrt(square / static_cast<double>(points.values.size()));
  for (double& x : points.values) x /= scale;
  const LogisticLoss loss(points, positives);
  Vector w(points.size + 1, 0.0);
  double value = loss.value(w);
  for (int turn = 0; turn < 100; ++turn) {
    const Vector gradient = loss.gradient(w);
    const Vector step = conjugate_gradients(loss.hessian(w), gradient);
    const double promise = dot(gradient, step);
    if (!(promise > 1e-16 * std::max(1.0, value))) break;
    // Newton's step is too long where the loss is far from a parabola: half it until it helps.
    double length = 1;
    for (; length > 1e-10; length /= 2) {
      Vector next = w;
      add(next, -length, step);
      const double there = loss.value(next);
      if (there > value - 1e-4 * length * promise) continue;
      w = std::move(next);
      value = there;
      break;
    }
    if (length <= 1e-10) break;
  }
  w.pop_back();
  normalise(&w);
  return w;
}

}  // namespace genkit::steering

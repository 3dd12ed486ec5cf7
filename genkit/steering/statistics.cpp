#include "genkit/steering/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/steering/linear_fits.h"

namespace genkit::steering {

namespace {

constexpr std::array<std::pair<Method, const char*>, 4> kMethods = {{
    {Method::kMeanDifference, "mean_difference"},
    {Method::kPcaDifferences, "pca_diff"},
    {Method::kPcaCentred, "pca_center"},
    {Method::kLogistic, "logistic"},
}};

std::vector<double> mean_of(std::span<const float> points, size_t size) {
  std::vector<double> mean(size, 0.0);
  const size_t count = points.size() / size;
  for (size_t i = 0; i < points.size(); ++i) mean[i % size] += points[i];
  for (double& x : mean) x /= static_cast<double>(count);
  return mean;
}

std::vector<double> mean_difference(const Samples& s) {
  std::vector<double> out = mean_of(s.positive, s.size);
  const std::vector<double> negative = mean_of(s.negative, s.size);
  for (size_t i = 0; i < s.size; ++i) out[i] -= negative[i];
  return out;
}

Points differences(const Samples& s) {
  Points out{.size = s.size, .values = std::vector<double>(s.positive.size())};
  for (size_t i = 0; i < s.positive.size(); ++i) {
    out.values[i] = static_cast<double>(s.positive[i]) - s.negative[i];
  }
  return out;
}

/// All points, positives first, less their common mean.
Points centred(const Samples& s) {
  Points out{.size = s.size, .values = {}};
  out.values.assign(s.positive.begin(), s.positive.end());
  out.values.insert(out.values.end(), s.negative.begin(), s.negative.end());
  const size_t count = out.count();
  std::vector<double> mean(s.size, 0.0);
  for (size_t i = 0; i < out.values.size(); ++i) mean[i % s.size] += out.values[i];
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] -= mean[i % s.size] / static_cast<double>(count);
  return out;
}

/// Share of the points' square sum along a direction of any length.
double share_along(const Points& points, const std::vector<double>& direction) {
  double total = 0, along = 0;
  const double length = std::inner_product(direction.begin(), direction.end(), direction.begin(), 0.0);
  for (size_t i = 0; i < points.count(); ++i) {
    const double p = points.dot(i, direction);
    along += p * p;
    for (const double x : points.row(i)) total += x * x;
  }
  return total > 0 && length > 0 ? std::min(1.0, along / length / total) : 0.0;
}

double project(std::span<const float> point, const std::vector<double>& direction) {
  double sum = 0;
  for (size_t i = 0; i < direction.size(); ++i) sum += point[i] * direction[i];
  return sum;
}

std::vector<double> projections(const std::vector<float>& points, const std::vector<double>& direction) {
  std::vector<double> out;
  for (size_t at = 0; at < points.size(); at += direction.size()) {
    out.push_back(project({points.data() + at, direction.size()}, direction));
  }
  return out;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double squares_about_mean(const std::vector<double>& values) {
  const double m = mean(values);
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [m](double sum, double x) { return sum + (x - m) * (x - m); });
}

/// Points of one class whose fold is (or is not) `fold`.
std::vector<float> select(const std::vector<float>& points, size_t size, int folds, int fold, bool inside) {
  std::vector<float> out;
  for (size_t i = 0; i < points.size() / size; ++i) {
    if ((static_cast<int>(i % static_cast<size_t>(folds)) == fold) != inside) continue;
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(i * size);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  return out;
}

void require(const Samples& s, Method method) {
  if (s.positives() == 0 || s.negatives() == 0) {
    throw ArgumentError("samples: a direction needs at least one positive and one negative");
  }
  const bool matched = s.paired && s.positives() == s.negatives();
  if (method == Method::kPcaDifferences && !matched) {
    throw ArgumentError("method: pca_diff needs pairs: as many positives as negatives, one by one");
  }
}

}  // namespace

const char* to_string(Method method) {
  for (const auto& [known, name] : kMethods) {
    if (known == method) return name;
  }
  return "";
}

Method parse_method(std::string_view name, const std::string& option) {
  std::vector<std::string_view> names;
  for (const auto& [method, known] : kMethods) {
    if (name == known) return method;
    names.emplace_back(known);
  }
  throw ArgumentError(fmt::format("{}: expected {}, got {}{}", option, fmt::join(names, ", "),
                                  printable(name), suggestion(name, names)));
}

Fit fit_direction(const Samples& s, Method method) {
  require(s, method);
  const std::vector<double> difference = mean_difference(s);
  const bool pairs = s.paired && s.positives() == s.negatives() && method != Method::kPcaCentred;
  const Points scatter = pairs ? differences(s) : centred(s);
  const bool all_zero =
      std::all_of(scatter.values.begin(), scatter.values.end(), [](double x) { return x == 0; });
  if (all_zero) throw ArgumentError("samples: positives and negatives do not differ");
  Fit fit;
  switch (method) {
    case Method::kMeanDifference:
      fit.direction = difference;
      break;
    case Method::kPcaDifferences:
    case Method::kPcaCentred:
      fit.direction = principal_axis(scatter, difference);
      break;
    case Method::kLogistic:
      fit.direction = logistic_normal(centred(s), s.positives());
      break;
  }
  const double sign = std::inner_product(difference.begin(), difference.end(), fit.direction.begin(), 0.0);
  if (sign < 0) {
    for (double& x : fit.direction) x = -x;
  }
  fit.explained_variance = share_along(scatter, fit.direction);
  return fit;
}

double auc(std::span<const double> positive, std::span<const double> negative) {
  if (positive.empty() || negative.empty()) throw ArgumentError("samples: AUC needs both classes");
  // Ranks of the merged order: the sum of the positives' ranks counts the pairs they win.
  std::vector<std::pair<double, bool>> all;
  for (const double x : positive) all.emplace_back(x, true);
  for (const double x : negative) all.emplace_back(x, false);
  std::sort(all.begin(), all.end());
  double wins = 0, below = 0;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    double ups = 0, downs = 0;
    while (end < all.size() && all[end].first == all[begin].first) {
      (all[end].second ? ups : downs) += 1;
      ++end;
    }
    wins += ups * (below + downs / 2);
    below += downs;
    begin = end;
  }
  return wins / static_cast<double>(positive.size()) / static_cast<double>(negative.size());
}

std::optional<Separation> cross_validate(const Samples& s, Method method, int folds) {
  require(s, method);
  const size_t fewest = std::min(s.positives(), s.negatives());
  if (fewest < 2) return std::nullopt;
  const int used = static_cast<int>(std::min<size_t>(static_cast<size_t>(std::max(folds, 2)), fewest));
  Separation sum;
  for (int fold = 0; fold < used; ++fold) {
    Samples train{.positive = select(s.positive, s.size, used, fold, false),
                  .negative = select(s.negative, s.size, used, fold, false),
                  .size = s.size,
                  .paired = s.paired};
    std::vector<double> direction;
    try {
      direction = fit_direction(train, method).direction;
    } catch (const ArgumentError&) {  // without the held-out samples nothing differs: a coin would do
      sum.auc += 0.5;
      continue;
    }
    const auto up = projections(select(s.positive, s.size, used, fold, true), direction);
    const auto down = projections(select(s.negative, s.size, used, fold, true), direction);
    sum.auc += auc(up, down);
    const auto seen_up = projections(train.positive, direction),
               seen_down = projections(train.negative, direction);
    const double freedom = static_cast<double>(seen_up.size() + seen_down.size()) - 2;
    const double variance =
        (squares_about_mean(seen_up) + squares_about_mean(seen_down)) / std::max(1.0, freedom);
    // Without any scatter the distance has no unit; the AUC says it all then.
    if (variance > 0) sum.distance += (mean(up) - mean(down)) / std::sqrt(variance);
  }
  return Separation{.auc = sum.auc / used, .distance = sum.distance / used};
}

}  // namespace genkit::steering

#include "genkit/steering/vector_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::steering {

namespace {

std::string shown(const VectorSet& set) { return set.name.empty() ? "vectors" : printable(set.name); }

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<double> wide(const std::vector<float>& v) { return {v.begin(), v.end()}; }

/// Takes out of v what lies along the orthonormal vectors. Twice, since one pass leaves the
/// rounding of large components behind.
void project_out(std::vector<double>* v, const std::vector<std::vector<double>>& basis) {
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto& b : basis) {
      const double along = dot(*v, b);
      for (size_t i = 0; i < v->size(); ++i) (*v)[i] -= along * b[i];
    }
  }
}

// Of what was there before; below, the rest is rounding.
constexpr double kNothingLeft = 1e-6;

void require_alike(const VectorSet& a, const VectorSet& b) {
  if (a.hidden_size() != b.hidden_size()) {
    throw ArgumentError(fmt::format("{} has directions of {} numbers, {} of {}", shown(a), a.hidden_size(),
                                    shown(b), b.hidden_size()));
  }
  if (!a.model_hash.empty() && !b.model_hash.empty() && !same_model(a.model_hash, b.model_hash)) {
    throw ArgumentError(fmt::format("{} and {} were made with different models ({} and {})", shown(a),
                                    shown(b), printable(a.model_hash), printable(b.model_hash)));
  }
  if (a.any_block != b.any_block) {
    throw ArgumentError(fmt::format("{} has one direction for any block, {} one for each",
                                    shown(a.any_block ? a : b), shown(a.any_block ? b : a)));
  }
}

std::string blocks_of(const VectorSet& set) {
  std::string list;
  for (const auto& [block, direction] : set.directions) {
    list += fmt::format("{}{}", list.empty() ? "" : ", ", block);
  }
  return list;
}

}  // namespace

const std::vector<float>& VectorSet::at(int block) const {
  if (any_block && !directions.empty()) return directions.begin()->second;
  const int number = block < 0 && num_blocks > 0 ? block + num_blocks : block;
  const auto found = directions.find(number);
  if (found == directions.end()) {
    throw ArgumentError(
        fmt::format("{}: no direction for block {}; it has {}", shown(*this), block, blocks_of(*this)));
  }
  return found->second;
}

SteeringVector VectorSet::vector(int block) const {
  const std::vector<float>& values = at(block);
  SteeringVector out =
      make_vector(name, mx::array(values.data(), {static_cast<int>(values.size())}, mx::float32));
  if (!any_block) {
    out.layer = block < 0 ? block + num_blocks : block;
    const auto report = layers.find(*out.layer);
    if (report != layers.end() && report->second.residual_norm && *report->second.residual_norm > 0) {
      out.residual_norm = static_cast<float>(*report->second.residual_norm);
    }
  }
  out.model_hash = model_hash;
  out.position = position;
  if (!method.empty()) out.notes["method"] = method;
  return out;
}

void check(const VectorSet& set) {
  if (set.directions.empty()) throw ArgumentError(fmt::format("{}: holds no direction", shown(set)));
  for (const auto& [block, direction] : set.directions) {
    const std::string where = fmt::format("{}: direction.{}", shown(set), block);
    if (block < 0) throw ArgumentError(fmt::format("{}: blocks count from 0", where));
    if (direction.empty()) throw ArgumentError(fmt::format("{}: is empty", where));
    if (static_cast<int>(direction.size()) != set.hidden_size()) {
      throw ArgumentError(
          fmt::format("{}: {} numbers, but others have {}", where, direction.size(), set.hidden_size()));
    }
    for (size_t i = 0; i < direction.size(); ++i) {
      if (!std::isfinite(direction[i])) {
        throw ArgumentError(
            fmt::format("{}: {} at index {}", where, std::isnan(direction[i]) ? "NaN" : "an infinity", i));
      }
    }
  }
}

VectorSet weighted_sum(const std::vector<std::pair<double, const VectorSet*>>& terms) {
  if (terms.empty()) throw ArgumentError("vectors: there is nothing to add up");
  const VectorSet& first = *terms.front().second;
  std::map<int, std::vector<double>> sums;
  VectorSet out = first;
  out.layers.clear();
  out.suggested_layer.reset();
  for (const auto& [weight, set] : terms) {
    if (!std::isfinite(weight)) throw ArgumentError(fmt::format("{}: the weight is not finite", shown(*set)));
    require_alike(first, *set);
    if (out.model_hash.empty()) out.model_hash = set->model_hash;
    if (out.model_type.empty()) out.model_type = set->model_type;
    if (out.num_blocks == 0) out.num_blocks = set->num_blocks;
    if (set->method != out.method) out.method = "sum";
    if (set->position != out.position) out.position.clear();
    for (const auto& [block, direction] : set->directions) {
      std::vector<double>& sum = sums[block];
      sum.resize(direction.size(), 0.0);
      for (size_t i = 0; i < direction.size(); ++i) sum[i] += weight * direction[i];
    }
  }
  out.directions.clear();
  for (const auto& [block, sum] : sums) out.directions[block].assign(sum.begin(), sum.end());
  check(out);
  return out;
}

VectorSet scaled(VectorSet set, double factor) {
  if (!std::isfinite(factor)) throw ArgumentError(fmt::format("{}: the factor is not finite", shown(set)));
  for (auto& [block, direction] : set.directions) {
    for (float& x : direction) x = static_cast<float>(x * factor);
  }
  check(set);
  return set;
}

VectorSet normalised(VectorSet set) {
  for (auto& [block, direction] : set.directions) {
    const std::vector<double> v = wide(direction);
    const double length = std::sqrt(dot(v, v));
    if (!(length > 0)) {
      throw ArgumentError(fmt::format("{}: direction.{}: has length 0", shown(set), block));
    }
    for (size_t i = 0; i < v.size(); ++i) direction[i] = static_cast<float>(v[i] / length);
  }
  return set;
}

VectorSet orthogonalised(VectorSet set, const std::vector<const VectorSet*>& others) {
  for (const VectorSet* other : others) require_alike(set, *other);
  for (auto& [block, direction] : set.directions) {
    std::vector<std::vector<double>> basis;
    for (const VectorSet* other : others) {
      const auto found = other->directions.find(block);
      if (found == other->directions.end()) continue;
      std::vector<double> v = wide(found->second);
      const double before = std::sqrt(dot(v, v));
      project_out(&v, basis);
      const double length = std::sqrt(dot(v, v));
      if (!(length > kNothingLeft * before)) continue;  // lies in the span of those before it
      for (double& x : v) x /= length;
      basis.push_back(std::move(v));
    }
    if (basis.empty()) continue;
    std::vector<double> v = wide(direction);
    const double before = std::sqrt(dot(v, v));
    project_out(&v, basis);
    if (!(std::sqrt(dot(v, v)) > kNothingLeft * before)) {
      throw ArgumentError(
          fmt::format("{}: direction.{}: nothing of it is orthogonal to the others", shown(set), block));
    }
    direction.assign(v.begin(), v.end());
  }
  set.layers.clear();
  set.suggested_layer.reset();
  check(set);
  return set;
}

}  // namespace genkit::steering

#include "genkit/steering/vector.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <array>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::steering {
namespace {

constexpr std::array<std::pair<AlphaUnit, std::string_view>, 3> kUnits = {{
    {AlphaUnit::kAbsolute, "absolute"},
    {AlphaUnit::kResidualNorm, "residual"},
    {AlphaUnit::kRecordedNorm, "recorded"},
}};

constexpr std::array<std::pair<models::Site, std::string_view>, 5> kSites = {{
    {models::Site::kTokenEmbedding, "token_embedding"},
    {models::Site::kEmbedding, "embedding"},
    {models::Site::kBlock, "block"},
    {models::Site::kFinal, "final"},
    {models::Site::kLogits, "logits"},
}};

std::string label(const SteeringVector& vector) {
  return vector.name.empty() ? "vector" : fmt::format("vector `{}`", printable(vector.name));
}

}  // namespace

const char* to_string(AlphaUnit unit) {
  for (const auto& [value, name] : kUnits) {
    if (value == unit) return name.data();
  }
  return "";
}

AlphaUnit alpha_unit(std::string_view name, const std::string& option) {
  for (const auto& [value, known] : kUnits) {
    if (known == name) return value;
  }
  throw ArgumentError(
      fmt::format("{}: expected absolute, residual or recorded, got {}", option, printable(name)));
}

const char* to_string(models::Site site) {
  for (const auto& [value, name] : kSites) {
    if (value == site) return name.data();
  }
  return "";
}

models::Site site_named(std::string_view name, const std::string& option) {
  for (const auto& [value, known] : kSites) {
    if (known == name) return value;
  }
  throw ArgumentError(fmt::format("{}: expected token_embedding, embedding, block, final or logits, got {}",
                                  option, printable(name)));
}

SteeringVector checked(SteeringVector vector) {
  const mx::array& given = vector.values;
  if (given.ndim() != 1 || given.size() == 0) {
    std::string shape;
    for (const int n : given.shape()) shape += (shape.empty() ? "" : ", ") + std::to_string(n);
    throw ArgumentError(fmt::format("{}: expected values of shape [hidden], got [{}]", label(vector), shape));
  }
  if (!mx::issubdtype(given.dtype(), mx::floating)) {
    throw ArgumentError(fmt::format("{}: expected floating-point values", label(vector)));
  }
  vector.values = mx::contiguous(mx::astype(given, mx::float32));
  vector.values.eval();
  const float* values = vector.values.data<float>();
  for (size_t i = 0; i < vector.values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw ArgumentError(fmt::format("{}: value {} is {}", label(vector), i, values[i]));
    }
  }
  if (vector.residual_norm && !(std::isfinite(*vector.residual_norm) && *vector.residual_norm > 0)) {
    throw ArgumentError(fmt::format("{}: residual_norm: expected a number above 0, got {}", label(vector),
                                    *vector.residual_norm));
  }
  return vector;
}

double norm(const SteeringVector& vector) {
  const float* values = vector.values.data<float>();
  double sum = 0;
  for (size_t i = 0; i < vector.values.size(); ++i) sum += double{values[i]} * values[i];
  return std::sqrt(sum);
}

SteeringVector make_vector(std::string name, const mx::array& values) {
  SteeringVector vector;
  vector.name = std::move(name);
  vector.values = values;
  return checked(std::move(vector));
}

}  // namespace genkit::steering

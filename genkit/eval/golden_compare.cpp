#include "genkit/eval/golden_compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>

#include "genkit/base/nearest.h"
#include "genkit/eval/golden_set.h"

namespace genkit::eval {

namespace mx = mlx::core;

void expect_text(const std::string& field, std::string_view got, std::string_view want) {
  if (got == want) return;
  const auto [a, b] = std::mismatch(got.begin(), got.end(), want.begin(), want.end());
  const size_t at = static_cast<size_t>(a - got.begin());
  const size_t from = at < 20 ? 0 : at - 20;
  const auto excerpt = [&](std::string_view s) { return printable(s.substr(from, 60), 120); };
  throw Mismatch(fmt::format("{}: differs at byte {}: got \"{}\", expected \"{}\"", field, at, excerpt(got),
                             excerpt(want)));
}

void expect_ids(const std::string& field, std::span<const int32_t> got, std::span<const int32_t> want) {
  if (std::equal(got.begin(), got.end(), want.begin(), want.end())) return;
  const auto [a, b] = std::mismatch(got.begin(), got.end(), want.begin(), want.end());
  const auto at = a - got.begin();
  const auto tail = [&](std::span<const int32_t> s) {
    const auto part = s.subspan(at, std::min<size_t>(8, s.size() - at));
    return fmt::format("[{}{}]", fmt::join(part, ", "), at + part.size() < s.size() ? ", ..." : "");
  };
  throw Mismatch(fmt::format("{}: differs at {}: got {} ({} in all), expected {} ({})", field, at, tail(got),
                             got.size(), tail(want), want.size()));
}

void expect_rows(const std::string& field, const std::vector<std::vector<int32_t>>& got,
                 const std::vector<std::vector<int32_t>>& want) {
  if (got.size() != want.size()) {
    throw Mismatch(fmt::format("{}: got {} rows, expected {}", field, got.size(), want.size()));
  }
  for (size_t i = 0; i < got.size(); ++i) expect_ids(fmt::format("{}[{}]", field, i), got[i], want[i]);
}

void expect_close(const std::string& field, std::span<const float> got, std::span<const float> want,
                  double tolerance) {
  if (got.size() != want.size()) {
    throw Mismatch(fmt::format("{}: got {} numbers, expected {}", field, got.size(), want.size()));
  }
  size_t first = got.size(), count = 0;
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]))) continue;
    const double difference = std::abs(double{got[i]} - double{want[i]});
    if (difference <= tolerance) continue;
    if (count++ == 0) first = i;
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  if (count == 0) return;
  throw Mismatch(fmt::format(
      "{}: {} of {} differ by more than {:.3g} (at most {:.3g}); first at {}: got {}, expected {}", field,
      count, got.size(), tolerance, worst, first, got[first], want[first]));
}

void expect_close(const std::string& field, const mx::array& got, const mx::array& want, double tolerance) {
  if (got.shape() != want.shape()) {
    throw Mismatch(fmt::format("{}: got shape {}, expected {}", field, shape_text(got.shape()),
                               shape_text(want.shape())));
  }
  expect_close(field, to_floats(got), to_floats(want), tolerance);
}

void refuse_unhandled(const JsonView& object, std::initializer_list<std::string_view> handled) {
  object.for_each([&](const std::string& key, const JsonView& value) {
    if (std::find(handled.begin(), handled.end(), key) == handled.end() && !value.is_null()) {
      throw Mismatch(fmt::format("{} is not supported yet", value.path().empty() ? key : value.path()));
    }
  });
}

double largest_magnitude(std::span<const float> values) {
  double largest = 0;
  for (float x : values) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(double{x}));
  }
  return largest;
}

double scaled_tolerance(const mx::array& want) {
  return 1e-4 * std::max(1.0, largest_magnitude(to_floats(want)));
}

double log_sum_exp(std::span<const float> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (float x : values) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

std::vector<float> floats(const JsonView& array) {
  return array.array_of(
      [](const JsonView& v) { return v.is_null() ? -INFINITY : static_cast<float>(v.number()); });
}

std::vector<std::vector<int32_t>> id_rows(const JsonView& rows) {
  return rows.array_of([](const JsonView& row) { return row.integers<int32_t>(); });
}

std::vector<float> to_floats(const mx::array& x) {
  mx::array flat = mx::contiguous(mx::astype(x, mx::float32));
  flat.eval();
  return std::vector<float>(flat.data<float>(), flat.data<float>() + flat.size());
}

std::string shape_text(const mx::Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace genkit::eval

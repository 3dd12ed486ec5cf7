#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "genkit/base/json_reader.h"

/// Pieces for tables in which one row a field drives parsing, printing, help and validation. A
/// table is a constexpr array of rows; each row names a member of the struct by pointer, and the
/// functions below do with a value of any field type what the table's owner needs. A new field
/// type is one overload of read_field and write_field in its own namespace.
namespace genkit {

/// Values that a numeric field may have.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;  ///< `min` itself is not allowed
  bool max_open = false;

  bool holds(double v) const {
    return (min_open ? v > min : v >= min) && (max_open ? v < max : v <= max) && !std::isnan(v);
  }
};

namespace field {

/// "a number in (0, 1]", "an integer of at least 1".
inline std::string describe(const Range& range, bool integer) {
  const std::string kind = integer ? "an integer" : "a number";
  const bool low = std::isfinite(range.min), high = std::isfinite(range.max);
  if (low && high) {
    return fmt::format("{} in {}{}, {}{}", kind, range.min_open ? '(' : '[', range.min, range.max,
                       range.max_open ? ')' : ']');
  }
  if (low) return fmt::format("{} {} {}", kind, range.min_open ? "above" : "of at least", range.min);
  if (high) return fmt::format("{} {} {}", kind, range.max_open ? "below" : "of at most", range.max);
  return kind;
}

inline std::string show(double v) {
  return std::isnan(v) ? "NaN" : std::isinf(v) ? (v > 0 ? "Infinity" : "-Infinity") : fmt::format("{}", v);
}

/// "expected a number in (0, 1], got 1.7" where a value lies outside; empty where it does not.
/// Lists are checked entry by entry; types without an order have no range.
template <class T>
std::string complaint(const T& value, const Range& range) {
  if constexpr (std::is_same_v<T, bool>) {
    return {};
  } else if constexpr (std::is_integral_v<T>) {
    if (range.holds(static_cast<double>(value))) return {};
    return fmt::format("expected {}, got {}", describe(range, true), value);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (range.holds(value) && std::isfinite(value)) return {};
    return fmt::format("expected {}, got {}", describe(range, false), show(value));
  } else {
    return {};
  }
}

template <class T>
std::string complaint(const std::vector<T>& values, const Range& range) {
  for (const auto& value : values) {
    if (std::string text = complaint(value, range); !text.empty()) return text;
  }
  return {};
}

// Reading keeps to the type; the range is a matter of validation, which values set in code need too.
inline void read_field(const JsonView& view, bool& out) { out = view.boolean(); }
inline void read_field(const JsonView& view, double& out) { out = view.number(); }
inline void read_field(const JsonView& view, std::string& out) { out = view.string(); }
template <class T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>, int> = 0>
void read_field(const JsonView& view, T& out) {
  out = view.integer<T>();
}
/// One value is a list of one: transformers writes `eos_token_id: 2` as well as `[2, 3]`.
template <class T>
void read_field(const JsonView& view, std::vector<T>& out) {
  out.clear();
  if (!view.is_array()) {
    read_field(view, out.emplace_back());
    return;
  }
  for (size_t i = 0; i < view.size(); ++i) read_field(view.at(i), out.emplace_back());
}

template <class T>
nlohmann::json write_field(const T& value) {
  return value;
}

}  // namespace field
}  // namespace genkit

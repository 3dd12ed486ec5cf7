#include "genkit/steering/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::steering {
namespace {

void require_finite(const char* name, double value) {
  // What overflows float32 would reach the stream as an infinity.
  if (!std::isfinite(static_cast<float>(value)))
    throw ArgumentError(fmt::format("{}: expected a finite number, got {}", name, value));
}

void require_steps(const char* name, int steps) {
  if (steps < 1) throw ArgumentError(fmt::format("{}: steps: expected at least 1, got {}", name, steps));
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// Numbers of a schedule's text. Complaints quote the whole of it.
struct Reader {
  std::string_view text;
  const std::string& option;

  [[noreturn]] void fail(const std::string& what) const {
    throw ArgumentError(fmt::format("{}: {}: {}", option, printable(text), what));
  }
  template <class T>
  T number(std::string_view part, const char* what) const {
    T value{};
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || part.empty())
      fail(fmt::format("expected {}, got {}", what, part.empty() ? "nothing" : printable(part)));
    return value;
  }
};

std::vector<std::pair<int, double>> parse_points(const Reader& reader, std::string_view list) {
  std::vector<std::pair<int, double>> points;
  for (const std::string_view item : split(list, ',')) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) reader.fail("expected STEP=FACTOR");
    points.emplace_back(reader.number<int>(item.substr(0, equals), "a step"),
                        reader.number<double>(item.substr(equals + 1), "a factor"));
  }
  return points;
}

}  // namespace

Schedule Schedule::constant(double alpha) {
  require_finite("alpha", alpha);
  return Schedule([alpha](int) { return alpha; }, true, alpha == 0);
}

Schedule Schedule::warmup(double alpha, int steps, int first) {
  require_finite("alpha", alpha);
  require_steps("warmup", steps);
  if (first < 0) throw ArgumentError(fmt::format("warmup: first: expected at least 0, got {}", first));
  return Schedule(
      [=](int step) { return alpha * std::min(1.0, (static_cast<double>(step) + first) / steps); }, false,
      alpha == 0);
}

Schedule Schedule::ramp(double alpha, double to, int steps) {
  require_finite("alpha", alpha);
  require_finite("ramp: to", to);
  require_steps("ramp", steps);
  return Schedule([=](int step) { return step >= steps ? to : alpha + (to - alpha) * step / steps; },
                  alpha == to, alpha == 0 && to == 0);
}

Schedule Schedule::decay(double alpha, double half_life) {
  require_finite("alpha", alpha);
  if (!(std::isfinite(half_life) && half_life > 0))
    throw ArgumentError(fmt::format("decay: half_life: expected a number above 0, got {}", half_life));
  return Schedule([=](int step) { return alpha * std::exp2(-step / half_life); }, false, alpha == 0);
}

Schedule Schedule::cosine(double alpha, double to, int steps) {
  require_finite("alpha", alpha);
  require_finite("cosine: to", to);
  require_steps("cosine", steps);
  return Schedule(
      [=](int step) {
        if (step >= steps) return to;
        return to + (alpha - to) * (1 + std::cos(std::numbers::pi * step / steps)) / 2;
      },
      alpha == to, alpha == 0 && to == 0);
}

Schedule Schedule::piecewise(double alpha, std::vector<std::pair<int, double>> points) {
  require_finite("alpha", alpha);
  if (points.empty()) throw ArgumentError("piecewise: expected at least one point");
  bool zero = true;
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].first < 0)
      throw ArgumentError(fmt::format("piecewise: step {} is negative", points[i].first));
    if (i > 0 && points[i].first <= points[i - 1].first)
      throw ArgumentError(
          fmt::format("piecewise: step {} does not come after {}", points[i].first, points[i - 1].first));
    require_finite("piecewise: factor", points[i].second);
    require_finite("piecewise: alpha * factor", alpha * points[i].second);
    zero &= alpha * points[i].second == 0;
  }
  const bool constant = points.size() == 1;
  return Schedule(
      [alpha, points = std::move(points)](int step) {
        const auto after = std::upper_bound(points.begin(), points.end(), step,
                                            [](int s, const auto& point) { return s < point.first; });
        if (after == points.begin()) return alpha * points.front().second;
        if (after == points.end()) return alpha * points.back().second;
        const auto& [x0, y0] = *(after - 1);
        const auto& [x1, y1] = *after;
        return alpha * (y0 + (y1 - y0) * (static_cast<double>(step) - x0) / (static_cast<double>(x1) - x0));
      },
      constant, zero);
}

Schedule Schedule::custom(std::function<double(int)> alpha) {
  if (!alpha) throw ArgumentError("schedule: expected a function, got none");
  return Schedule(std::move(alpha), false, false);
}

Schedule Schedule::parse(std::string_view text, double alpha, const std::string& option) {
  const Reader reader{text, option};
  const std::vector<std::string_view> parts = split(text, ':');
  const std::string_view kind = parts[0];
  const auto expect = [&](size_t least, size_t most, const char* form) {
    if (parts.size() - 1 < least || parts.size() - 1 > most) reader.fail(fmt::format("expected {}", form));
  };
  try {
    if (kind == "constant") {
      expect(0, 0, "constant");
      return constant(alpha);
    }
    if (kind == "warmup") {
      expect(1, 2, "warmup:STEPS or warmup:STEPS:FIRST");
      const int first = parts.size() > 2 ? reader.number<int>(parts[2], "a number of steps") : 0;
      return warmup(alpha, reader.number<int>(parts[1], "a number of steps"), first);
    }
    if (kind == "ramp") {
      expect(2, 2, "ramp:TO:STEPS");
      return ramp(alpha, reader.number<double>(parts[1], "a number"),
                  reader.number<int>(parts[2], "a number of steps"));
    }
    if (kind == "decay") {
      expect(1, 1, "decay:HALF_LIFE");
      return decay(alpha, reader.number<double>(parts[1], "a number"));
    }
    if (kind == "cosine") {
      expect(1, 2, "cosine:STEPS or cosine:STEPS:TO");
      const double to = parts.size() > 2 ? reader.number<double>(parts[2], "a number") : 0;
      return cosine(alpha, to, reader.number<int>(parts[1], "a number of steps"));
    }
    if (kind == "piecewise") {
      expect(1, 1, "piecewise:STEP=FACTOR,...");
      return piecewise(alpha, parse_points(reader, parts[1]));
    }
  } catch (const ArgumentError& error) {
    const std::string what = error.what();
    if (what.starts_with(option + ":")) throw;
    throw ArgumentError(fmt::format("{}: {}", option, what));
  }
  reader.fail("expected constant, warmup, ramp, decay, cosine or piecewise");
}

float Schedule::at(int step) const {
  const float value = static_cast<float>(value_(step));
  if (!std::isfinite(value))
    throw ArgumentError(fmt::format("schedule: alpha at step {} is {}", step, value));
  return value;
}

bool Schedule::is_zero() const { return zero_; }
bool Schedule::is_constant() const { return constant_; }

}  // namespace genkit::steering

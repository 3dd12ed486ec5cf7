#include "genkit/steering/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace genkit::steering {

namespace {

constexpr double kWidth = 360, kHeight = 240;
constexpr double kLeft = 52, kRight = 12, kTop = 10, kBottom = 40;

std::string label(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 1e5 || size < 1e-3) return fmt::format("{:.0e}", value);
  return fmt::format("{:.6g}", value);
}

/// A range of the axis, and where its values lie in the picture.
struct Axis {
  double low = 0, high = 1, begin = 0, end = 1;
  bool logarithmic = false;

  double place(double value) const {
    const auto scale = [this](double x) { return logarithmic ? std::log(x) : x; };
    return begin + (end - begin) * (scale(value) - scale(low)) / (scale(high) - scale(low));
  }
  bool holds(double value) const { return std::isfinite(value) && (!logarithmic || value > 0); }
};

/// Room around the values, so that no line runs along the edge.
void widen(Axis* axis) {
  if (!(axis->low <= axis->high)) {
    axis->low = axis->logarithmic ? 1 : 0;
    axis->high = axis->logarithmic ? 10 : 1;
    return;
  }
  if (axis->logarithmic) {
    const double room = std::max(1.1, std::pow(axis->high / axis->low, 0.06));
    axis->low /= room;
    axis->high *= room;
  } else {
    const double span = axis->high - axis->low;
    const double room = span > 0 ? 0.06 * span : std::max(1e-3, 0.1 * std::abs(axis->high));
    // A share or a divergence does not go below 0, nor should its axis.
    const bool from_zero = axis->low >= 0;
    axis->low -= room;
    axis->high += room;
    if (from_zero) axis->low = std::max(axis->low, 0.0);
  }
}

Axis y_axis(const Chart& chart) {
  Axis axis{.low = std::numeric_limits<double>::infinity(),
            .high = -std::numeric_limits<double>::infinity(),
            .begin = kHeight - kBottom,
            .end = kTop,
            .logarithmic = chart.logarithmic};
  const auto see = [&](double value) {
    if (!axis.holds(value)) return;
    axis.low = std::min(axis.low, value);
    axis.high = std::max(axis.high, value);
  };
  for (const ChartLine& line : chart.lines) {
    for (const auto& [x, y] : line.points) see(y);
  }
  for (const ChartLevel& level : chart.levels) see(level.value);
  widen(&axis);
  return axis;
}

Axis x_axis(const Chart& chart) {
  Axis axis{.low = std::numeric_limits<double>::infinity(),
            .high = -std::numeric_limits<double>::infinity(),
            .begin = kLeft,
            .end = kWidth - kRight};
  for (const ChartLine& line : chart.lines) {
    for (const auto& [x, y] : line.points) {
      axis.low = std::min(axis.low, x);
      axis.high = std::max(axis.high, x);
    }
  }
  if (!(axis.low < axis.high)) {
    const double middle = std::isfinite(axis.low) ? axis.low : 0;
    axis.low = middle - 1;
    axis.high = middle + 1;
  }
  return axis;
}

std::string grid(const Chart& chart, const Axis& x, const Axis& y) {
  std::string out;
  for (const double tick : axis_ticks(y.low, y.high, 5, y.logarithmic)) {
    const double at = y.place(tick);
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>",
        kLeft, at, kWidth - kRight, at, kLeft - 6, at + 4, label(tick));
  }
  for (const double tick : axis_ticks(x.low, x.high, 6, false)) {
    const double at = x.place(tick);
    out += fmt::format(
        "<line class=\"axis\" x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\"/><text x=\"{:.1f}\" y=\"{}\" "
        "text-anchor=\"middle\">{}</text>",
        at, kHeight - kBottom, at, kHeight - kBottom + 4, at, kHeight - kBottom + 17, label(tick));
  }
  out += fmt::format("<line class=\"axis\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>", kLeft,
                     kHeight - kBottom, kWidth - kRight, kHeight - kBottom);
  if (x.low < 0 && x.high > 0) {
    out += fmt::format("<line class=\"zero\" x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\"/>", x.place(0),
                       kTop, x.place(0), kHeight - kBottom);
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                     (kLeft + kWidth - kRight) / 2, kHeight - 6, html_escaped(chart.x_label));
  return out;
}

std::string drawn(const ChartLine& line, const Axis& x, const Axis& y) {
  std::string out, run;
  const auto end_run = [&] {
    if (!run.empty()) {
      out += fmt::format("<polyline style=\"stroke:{}{}\" points=\"{}\"/>", line.stroke,
                         line.dash.empty() ? "" : ";stroke-dasharray:" + line.dash, run);
    }
    run.clear();
  };
  std::string dots;
  for (const auto& [px, py] : line.points) {
    if (!y.holds(py)) {
      end_run();
      continue;
    }
    run += fmt::format("{:.1f},{:.1f} ", x.place(px), y.place(py));
    dots += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" style=\"fill:{}\"><title>{}, {}: {}</title></circle>",
        x.place(px), y.place(py), line.stroke, html_escaped(line.name), label(px), label(py));
  }
  end_run();
  return out + dots;
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic) {
  std::vector<double> ticks;
  if (!(low < high) || count < 1 || !std::isfinite(low) || !std::isfinite(high)) return ticks;
  if (logarithmic) {
    for (const std::vector<double>& parts : {std::vector<double>{1}, {1, 3}, {1, 2, 5}}) {
      ticks.clear();
      for (int power = static_cast<int>(std::floor(std::log10(low))); power <= std::ceil(std::log10(high));
           ++power) {
        for (const double part : parts) {
          const double tick = part * std::pow(10.0, power);
          if (tick >= low && tick <= high) ticks.push_back(tick);
        }
      }
      if (static_cast<int>(ticks.size()) >= std::min(count, 3)) return ticks;
    }
    if (ticks.size() > 1) return ticks;
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double part : {1.0, 2.0, 2.5, 5.0}) {
    if (part * power >= rough * 0.999) {
      step = part * power;
      break;
    }
  }
  ticks.clear();
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

std::string svg(const Chart& chart) {
  const Axis x = x_axis(chart), y = y_axis(chart);
  std::string out = fmt::format(
      "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">",
      kWidth, kHeight, html_escaped(chart.title));
  if (!chart.style.empty()) out += fmt::format("<style>{}</style>", chart.style);
  out += grid(chart, x, y);
  for (const ChartLevel& level : chart.levels) {
    if (!y.holds(level.value)) continue;
    out += fmt::format(
        "<line class=\"{}\" x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\"><title>{}: {}</title></line>",
        level.css_class, kLeft, y.place(level.value), kWidth - kRight, y.place(level.value),
        html_escaped(level.name), label(level.value));
  }
  for (const ChartLine& line : chart.lines) out += drawn(line, x, y);
  return out + "</svg>";
}

}  // namespace genkit::steering

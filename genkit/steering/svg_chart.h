#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Line charts as SVG text: no script, colours by CSS, so that a page can have them light and dark.

namespace genkit::steering {

struct ChartLine {
  std::string name;
  std::string stroke;     ///< a CSS colour
  std::string dash = {};  ///< an SVG dash array; empty: a full line
  std::vector<std::pair<double, double>> points =
      {};  ///< in rising order of x; one that is not finite breaks the line
};

/// A level across the whole chart.
struct ChartLevel {
  std::string name;
  std::string css_class;
  double value = 0;  ///< not shown where it is not finite
};

struct Chart {
  std::string title;  ///< for readers that do not see it
  std::string x_label;
  bool logarithmic = false;  ///< the y axis; values at or below 0 are left out
  std::vector<ChartLine> lines = {};
  std::vector<ChartLevel> levels = {};
  /// Style inside the picture, for a file of its own; empty: the page's.
  std::string style = {};
};

/// The chart as an <svg> element, 360 x 240 units, with axes, grid, lines and dots that name their
/// values when pointed at.
std::string svg(const Chart& chart);

/// Round numbers that cover [low, high], about `count` of them; powers of ten and parts of them
/// where the axis is logarithmic.
std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic);

/// Text for HTML and SVG, in content and in quoted attributes; control characters that HTML does not
/// allow become U+FFFD.
std::string html_escaped(std::string_view text);

}  // namespace genkit::steering

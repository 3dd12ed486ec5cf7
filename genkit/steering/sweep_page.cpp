// The report of a sweep as one HTML page.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "genkit/steering/svg_chart.h"
#include "genkit/steering/sweep.h"

namespace genkit::steering {

namespace {

/// One measure of the sweep: what it is called, what it says, and where it stands.
struct Measure {
  const char* title;
  const char* note;
  double (*of)(const SweepScores&, int layer);
  bool logarithmic = false;
};

double value_or_nan(const std::map<int, double>& values, int layer) {
  const auto found = values.find(layer);
  return found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
}

constexpr Measure kProjection{
    "Projection", "of the answers on the direction, as the unsteered model reads them",
    [](const SweepScores& s, int layer) { return value_or_nan(s.projection, layer); }};
constexpr Measure kLogOdds{
    "Log-odds", "of the first word list against the second, right after the prompt, in nats",
    [](const SweepScores& s, int) { return s.log_odds.value_or(std::numeric_limits<double>::quiet_NaN()); }};
constexpr Measure kPerplexity{"Perplexity", "of the answers to the unsteered model; logarithmic",
                              [](const SweepScores& s, int) { return s.perplexity; }, true};
constexpr Measure kKl{"KL divergence",
                      "of the next token after the prompt, from the unsteered model, in nats",
                      [](const SweepScores& s, int) { return s.kl; }};
constexpr Measure kDistinct{"Distinct-2", "distinct pairs of tokens over all pairs of the answers",
                            [](const SweepScores& s, int) { return s.distinct_2; }};
constexpr Measure kChanged{"Changed", "share of the answers that differ from those without steering",
                           [](const SweepScores& s, int) { return s.changed; }};

std::vector<Measure> measures(const SweepResult& r) {
  std::vector<Measure> out = {kProjection};
  if (r.base.log_odds) out.push_back(kLogOdds);
  for (const Measure& m : {kPerplexity, kKl, kDistinct, kChanged}) out.push_back(m);
  return out;
}

const char* kStyle = R"css(
:root{--paper:#fbfaf7;--ink:#1d1f23;--soft:#5d6169;--line:#d9d6ce;--card:#ffffff;
--s0:#1f6fb2;--s1:#b4500f;--s2:#1c7c54;--s3:#8a3ea8;--s4:#a8860a;--s5:#b0304f;--s6:#44606f;--s7:#6a6a12}
@media (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e8e6e1;--soft:#a3a7af;--line:#363a42;--card:#1e2126;
--s0:#6db3ee;--s1:#f0965a;--s2:#5fcf9d;--s3:#cf95e8;--s4:#dfc14e;--s5:#f0859e;--s6:#9db8c6;--s7:#c3c36a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1160px;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .75rem}
p{margin:.25rem 0}.soft{color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:1rem 0;font-size:.9rem}
.legend span{display:inline-flex;align-items:center;gap:.45rem}
.legend svg{width:26px;height:10px;flex:none}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.75rem .75rem .25rem}
figcaption b{display:block}figcaption{font-size:.85rem;color:var(--soft);min-height:3.8em}figcaption b{color:var(--ink);font-size:1rem}
svg.chart{width:100%;height:auto;display:block}
.chart text{fill:var(--soft);font-size:12px}.chart .grid{stroke:var(--line)}.chart .axis{stroke:var(--soft)}
.chart .zero{stroke:var(--soft);stroke-opacity:.6;stroke-dasharray:1 3}
.chart polyline{fill:none;stroke-width:2.2;stroke-linejoin:round}
.base{stroke:var(--ink);stroke-dasharray:7 4;stroke-width:1.4}.system{stroke:var(--ink);stroke-dasharray:2 3;stroke-width:1.6}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;font-size:.85rem;width:100%}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left}tr:last-child td{border-bottom:0}
details{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:.5rem 0}
summary{cursor:pointer;padding:.6rem .8rem;font-weight:600}
.texts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,260px),1fr));gap:.75rem;padding:0 .8rem .8rem}
.text{border-left:3px solid var(--line);padding:.1rem 0 .1rem .6rem;overflow-wrap:anywhere;font-size:.92rem}
.text small{display:block;color:var(--soft)}.text.none{border-color:var(--ink)}.white{white-space:pre-wrap}
)css";

std::string shown(double value) {
  if (!std::isfinite(value)) return "–";
  const double size = std::abs(value);
  if (value == 0) return "0";
  if (size >= 1e5 || size < 1e-3) return fmt::format("{:.1e}", value);
  return fmt::format("{:.{}f}", value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

std::string counted(size_t count, const char* thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

std::string series_colour(size_t i) { return fmt::format("var(--s{})", i % 8); }
/// Past eight layers the colours come again, dashed.
std::string series_dash(size_t i) { return i < 8 ? "" : i < 16 ? "9 3" : "3 3"; }

Chart chart_of(const SweepResult& r, const Measure& m) {
  Chart chart{.title = m.title, .x_label = fmt::format("alpha ({})", r.unit), .logarithmic = m.logarithmic};
  for (size_t i = 0; i < r.layers.size(); ++i) {
    ChartLine line{
        .name = fmt::format("block {}", r.layers[i]), .stroke = series_colour(i), .dash = series_dash(i)};
    for (const SweepCell& cell : r.cells) {
      if (cell.layer == r.layers[i]) line.points.emplace_back(cell.alpha, m.of(cell.scores, cell.layer));
    }
    chart.lines.push_back(std::move(line));
  }
  // The baselines have one projection a layer; a single line would be of one of them alone.
  const bool by_layer = m.title == kProjection.title && r.layers.size() > 1;
  if (!by_layer) {
    const int layer = r.layers.front();
    chart.levels.push_back({.name = "no steering", .css_class = "base", .value = m.of(r.base, layer)});
    if (r.system)
      chart.levels.push_back(
          {.name = "system prompt", .css_class = "system", .value = m.of(*r.system, layer)});
  }
  return chart;
}

std::string legend(const SweepResult& r) {
  std::string out = "<div class=\"legend\">";
  const auto entry = [&](const std::string& attributes, const std::string& name) {
    out += fmt::format(
        "<span><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><line x1=\"0\" y1=\"5\" x2=\"26\" y2=\"5\" "
        "{}/></svg>{}</span>",
        attributes, name);
  };
  for (size_t i = 0; i < r.layers.size(); ++i) {
    entry(fmt::format("style=\"stroke:{};stroke-width:2.5;stroke-dasharray:{}\"", series_colour(i),
                      series_dash(i).empty() ? "none" : series_dash(i)),
          fmt::format("block {}", r.layers[i]));
  }
  entry("class=\"base\"", "no steering");
  if (r.system) entry("class=\"system\"", "trait in the system prompt");
  return out + "</div>\n";
}

std::string table(const SweepResult& r) {
  std::string out = "<div class=\"scroll\"><table><thead><tr><th>setting</th>";
  const auto columns = measures(r);
  for (const Measure& m : columns) out += fmt::format("<th>{}</th>", m.title);
  out += "<th>Distinct-1</th><th>Tokens</th></tr></thead><tbody>\n";
  const auto row = [&](const std::string& name, const SweepScores& s, int layer) {
    out += fmt::format("<tr><td>{}</td>", name);
    for (const Measure& m : columns) out += fmt::format("<td>{}</td>", shown(m.of(s, layer)));
    out += fmt::format("<td>{}</td><td>{}</td></tr>\n", shown(s.distinct_1), shown(s.mean_tokens));
  };
  for (const int layer : r.layers) {
    row(fmt::format("no steering, at block {}", layer), r.base, layer);
    if (r.system) row(fmt::format("system prompt, at block {}", layer), *r.system, layer);
    for (const SweepCell& cell : r.cells) {
      if (cell.layer == layer)
        row(fmt::format("block {}, alpha {:g}", layer, cell.alpha), cell.scores, layer);
    }
  }
  return out + "</tbody></table></div>\n";
}

std::string texts(const SweepResult& r) {
  std::string out;
  const auto text = [&](const std::string& label, const std::string& body, const char* kind) {
    out += fmt::format("<div class=\"text{}\"><small>{}</small><span class=\"white\">{}</span></div>\n", kind,
                       label, html_escaped(body));
  };
  for (size_t i = 0; i < r.prompts.size(); ++i) {
    out += fmt::format("<details{}><summary class=\"white\">{}</summary>\n", i < 3 ? " open" : "",
                       html_escaped(r.prompts[i]));
    for (const int layer : r.layers) {
      out += "<div class=\"texts\">\n";
      bool base_shown = false;
      const auto base = [&] {
        if (!base_shown) text("no steering", r.base.texts[i], " none");
        base_shown = true;
      };
      for (const SweepCell& cell : r.cells) {
        if (cell.layer != layer) continue;
        if (cell.alpha >= 0) base();
        if (cell.alpha == 0 && cell.scores.texts[i] == r.base.texts[i]) continue;
        text(fmt::format("block {}, alpha {:g}", layer, cell.alpha), cell.scores.texts[i], "");
      }
      base();
      if (r.system) text("trait in the system prompt", r.system->texts[i], "");
      out += "</div>\n";
    }
    out += "</details>\n";
  }
  return out;
}

std::string guard_line(const SweepResult& r) {
  GuardCounters all;
  for (const SweepCell& cell : r.cells) all += cell.scores.guard;
  if (all.identical_resampled + all.suspect_resampled == 0) return {};
  return fmt::format(
      "<p class=\"soft\">Of {} steered answers {} equalled the unsteered one ({} drawn again, {} left) and "
      "{} looked suspect "
      "({} drawn again, {} left).</p>\n",
      all.rows, all.identical, all.identical_resampled, all.identical_left, all.suspect,
      all.suspect_resampled, all.suspect_left);
}

}  // namespace

std::string sweep_page(const SweepResult& r) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Steering sweep: "
      "{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n",
      html_escaped(r.vector), kStyle);
  out += fmt::format("<h1>Steering sweep: {}</h1>\n", html_escaped(r.vector));
  out += fmt::format("<p class=\"soft\">{}{}, {}, {} ({}), seed {}.</p>\n",
                     r.model.empty() ? "" : html_escaped(r.model) + ". ", counted(r.prompts.size(), "prompt"),
                     counted(r.layers.size(), "block"), counted(r.alphas.size(), "alpha"), r.unit, r.seed);
  if (r.system)
    out += fmt::format("<p class=\"soft\">System prompt: {}</p>\n", html_escaped(r.system_prompt));
  out += guard_line(r) + legend(r) + "<div class=\"charts\">\n";
  for (const Measure& m : measures(r)) {
    out += fmt::format("<figure><figcaption><b>{}</b>{}</figcaption>{}</figure>\n", m.title, m.note,
                       svg(chart_of(r, m)));
  }
  out += "</div>\n<h2>All figures</h2>\n" + table(r) + "<h2>Answers side by side</h2>\n" + texts(r);
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace genkit::steering

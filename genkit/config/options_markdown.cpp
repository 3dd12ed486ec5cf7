#include "genkit/config/options_markdown.h"

#include <fmt/format.h>

#include "genkit/config/generation_fields.h"

namespace genkit::config {
namespace {

constexpr std::string_view kHead =
    R"(# Generation options

Made from the field table (`genkit/config/options/`) by `mlxgk options`; a test fails where this page and the table differ.
The names are Hugging Face's; flags are the same with dashes (`--top-p`). A file of them is given by
`--generation-config FILE`, a model's own `generation_config.json` gives defaults, and `--explain-config` prints every value in
effect and where it came from. An option that the mode does not honour is an error that names both.

Modes: what draws its tokens is *drawing* (sampling, beam sampling, and the drawing forms of the others); *beams* are beam, beam
sampling, diverse beam and constrained beam decoding; *speculative* are assisted and prompt lookup decoding, drawing or not.
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<') out += '\\';
    out += c;
  }
  return out;
}

std::string describe(Modes set) {
  if (set == kAllModes) return "all";
  std::string out;
  const auto add = [&](const std::string& name) { out += (out.empty() ? "" : ", ") + name; };
  const auto take = [&](Modes group, const char* name) {
    if ((set & group) != group) return;
    add(name);
    set &= ~group;
  };
  take(kBeamModes, "beams");
  take(kDrawingModes, "drawing");
  take(kDrawingModes & ~modes(GenerationMode::kBeamSampling), "drawing");
  take(kSpeculativeModes, "speculative");
  for (; set != 0; set &= set - 1) add(to_string(static_cast<GenerationMode>(set & (~set + 1))));
  return out;
}

void add_row(const OptionRow& row, const FieldInfo& info, std::string& out) {
  std::string names = fmt::format("`{}`", row.name);
  for (const std::string_view alias : info.aliases) names += fmt::format(", `{}`", alias);
  const std::string values = info.range.empty() ? info.type : info.range;
  std::string help = info.help;
  if (!row.needs[0].empty()) {
    help += row.needs[1].empty() ? fmt::format(" Needs `{}`.", row.needs[0])
                                 : fmt::format(" Needs `{}` or `{}`.", row.needs[0], row.needs[1]);
  }
  const std::string fallback = row.fallback == "null" ? "" : fmt::format("`{}`", row.fallback);
  out += fmt::format("| {} | {} | {} | {} | {} |\n", names, escaped(values), escaped(fallback),
                     describe(row.modes), escaped(help));
}

}  // namespace

std::string options_markdown() {
  std::string out(kHead);
  auto info = generation_fields().begin();
  for (const OptionGroup& group : option_groups()) {
    if (group.rows.empty()) continue;
    out += fmt::format(
        "\n## {}\n\n| option | values | default | modes | |\n| --- | --- | --- | --- | --- |\n", group.title);
    for (const OptionRow& row : group.rows) add_row(row, *info++, out);
  }
  out +=
      "\n## Refused\n\nOptions of transformers that no mode here honours. Values that ask for nothing are "
      "accepted.\n\n"
      "| option | asks for | accepted |\n| --- | --- | --- |\n";
  for (const UnsupportedOption& row : unsupported_options()) {
    out += fmt::format("| `{}` | {} | `{}` |\n", row.name, row.help,
                       row.neutral == "[]" ? "null" : std::string(row.neutral));
  }
  return out;
}

}  // namespace genkit::config

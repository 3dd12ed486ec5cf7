#include "genkit/eval/goldens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "genkit/base/nearest.h"
#include "genkit/eval/golden_set.h"

namespace genkit::eval {

namespace fs = std::filesystem;

namespace {

struct GoldenFormat {
  std::string_view name;  ///< of the file, without .json
  GoldenRunner run;
  /// A key at the top that only this format has: tells files of other names, made with other models.
  std::string_view mark = {};
};

constexpr std::string_view kForward = "forward";

constexpr std::array kFormats = {
    GoldenFormat{kForward, run_forward},
    GoldenFormat{"generate", run_generate},
    GoldenFormat{"beam_sample", run_generate},
    GoldenFormat{"legacy_generate", run_generate},
    GoldenFormat{"stop_strings", run_stop_strings},
    GoldenFormat{"processors", run_processors},
    GoldenFormat{"processor_list", run_processor_list},
    GoldenFormat{"sampling", run_sampling},
    GoldenFormat{"speculative", run_speculative},
    GoldenFormat{"tokenizers", run_tokenizers},
    GoldenFormat{"streaming", run_streaming},
    GoldenFormat{"chat_templates", run_chat_templates},
    GoldenFormat{"jinja", run_jinja},
    GoldenFormat{"published_templates", run_published_templates},
    GoldenFormat{"gemma3_270m", run_real_model, "greedy"},
    GoldenFormat{"gemma3_270m_modes", run_real_model, "modes"},
    GoldenFormat{"gemma3_270m_steering", run_real_model_steering, "runs"},
    GoldenFormat{"steering", run_steering},
    GoldenFormat{"training", run_training},
};

struct Found {
  fs::path path;
  const GoldenFormat* format = nullptr;  ///< null: nothing knows a file of this name
};

const GoldenFormat* find_format(std::string_view name) {
  const auto it =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const auto& f) { return f.name == name; });
  return it == kFormats.end() ? nullptr : &*it;
}

std::vector<fs::path> sorted_entries(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> out;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
    out.push_back(it->path());
  if (error) throw IoError(fmt::format("{}: cannot be read: {}", dir.string(), error.message()));
  std::sort(out.begin(), out.end());
  return out;
}

/// What a JSON file of another name is: one of the marked formats, unknown cases, or nothing of ours.
struct Recognized {
  bool recorded = false;
  const GoldenFormat* format = nullptr;
};

Recognized recognize(const fs::path& path) {
  nlohmann::json json;
  try {
    json = read_json_file(path);
  } catch (const Error&) {
    return {.recorded = true};  // unreadable is not the same as empty
  }
  if (!json.is_object()) return {};
  for (const GoldenFormat& f : kFormats) {
    if (!f.mark.empty() && json.contains(f.mark)) return {.recorded = true, .format = &f};
  }
  return {.recorded = json.contains("cases")};
}

/// The recorded files of a folder, in the order of the table, what nothing knows last.
std::vector<Found> find_files(const fs::path& dir) {
  std::vector<Found> found;
  if (fs::is_directory(dir / "models")) {
    for (const fs::path& model : sorted_entries(dir / "models")) {
      if (fs::exists(model / "forward.json"))
        found.push_back({model / "forward.json", find_format(kForward)});
    }
  }
  for (const fs::path& path : sorted_entries(dir)) {
    if (path.extension() != ".json") continue;
    const GoldenFormat* format = find_format(path.stem().string());
    const Recognized other =
        format == nullptr ? recognize(path) : Recognized{.recorded = true, .format = format};
    if (other.recorded) found.push_back({path, other.format});
  }
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    const auto rank = [](const Found& f) {
      return f.format != nullptr ? f.format : kFormats.data() + kFormats.size();
    };
    return rank(a) < rank(b);
  });
  return found;
}

void refuse_unknown_names(const std::vector<std::string>& only, const std::vector<Found>& found,
                          const fs::path& dir) {
  for (const std::string& name : only) {
    if (std::any_of(found.begin(), found.end(), [&](const Found& f) { return f.path.stem() == name; }))
      continue;
    std::set<std::string> here;
    for (const Found& f : found) here.insert(f.path.stem().string());
    const std::vector<std::string_view> names(here.begin(), here.end());
    throw ArgumentError(
        fmt::format("--only: no {}.json in {}{}", printable(name), dir.string(), suggestion(name, names)));
  }
}

void run_file(const Found& found, const fs::path& dir, GoldenSet& set, GoldenReport& report) {
  report.begin_file(fs::relative(found.path, dir).generic_string());
  try {
    const GoldenFile file(found.path);
    if (found.format == nullptr) {
      for (const JsonView& c : file.cases()) {
        report.fail(c.at("name").string(),
                    fmt::format("the format {} is not known", found.path.stem().string()));
      }
    } else {
      found.format->run(file, set, report);
    }
  } catch (const std::exception& e) {
    report.fail("", e.what());
  }
  report.end_file();
}

}  // namespace

GoldensSummary run_goldens(const GoldensOptions& options, std::ostream& out) {
  const std::vector<Found> found = find_files(options.dir);
  refuse_unknown_names(options.only, found, options.dir);
  if (found.empty()) throw ArgumentError(fmt::format("{}: holds no recorded sets", options.dir.string()));
  GoldenSet set(options);
  GoldenReport report(out);
  for (const Found& f : found) {
    const auto named = [&](const std::string& name) { return f.path.stem() == name; };
    if (!options.only.empty() && std::none_of(options.only.begin(), options.only.end(), named)) continue;
    run_file(f, options.dir, set, report);
  }
  const GoldensSummary& summary = report.summary();
  out << fmt::format("{} passed, {} failed", summary.passed, summary.failed) << std::endl;
  return summary;
}

std::vector<std::string> golden_format_names() {
  std::vector<std::string> names;
  for (const GoldenFormat& f : kFormats) names.emplace_back(f.name);
  return names;
}

}  // namespace genkit::eval

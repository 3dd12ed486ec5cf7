// Sets of features that the library does not have: each case is a failure that says so.

#include <fmt/format.h>

#include "genkit/eval/golden_set.h"

namespace genkit::eval {

namespace {

void fail_all(const GoldenFile& file, const char* list, const std::string& feature, GoldenReport& report) {
  const auto cases = file.root().at(list);
  for (size_t i = 0; i < cases.size(); ++i) {
    const JsonView c = cases.at(i);
    const std::string kind = c.string_or("kind", "");
    report.fail(c.has("name") ? c.at("name").string() : fmt::format("{}/{}", list, i),
                fmt::format("{}{}{} is not supported yet", feature, kind.empty() ? "" : ": ", kind));
  }
}

}  // namespace

void run_training(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  fail_all(file, "cases", "training", report);
}

}  // namespace genkit::eval

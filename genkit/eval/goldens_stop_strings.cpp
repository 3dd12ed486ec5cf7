// stop_strings.json: when the criterion fires, and runs of generate() that it ends.

#include <fmt/format.h>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_generate.h"
#include "genkit/eval/golden_set.h"
#include "genkit/generate/stop_strings.h"

namespace genkit::eval {

namespace {

void check_criterion(const text::Tokenizer& tokenizer, const JsonView& c) {
  const auto strings = c.at("stop_strings").strings();
  const auto ids = c.at("ids").integers<int32_t>();
  const std::span<const int32_t> all(ids);
  if (const auto error = c.find("expected_error")) {
    try {
      const generate::StopStringMatcher matcher(tokenizer, strings);
    } catch (const ArgumentError&) {
      return;
    }
    throw Mismatch(fmt::format("expected an error ({}), got none", error->at("message").string()));
  }
  const generate::StopStringMatcher matcher(tokenizer, strings);
  const JsonView want = c.at("expected_per_prefix");
  const auto decodes = c.at("prefix_decodes").strings();
  if (want.size() != ids.size() || decodes.size() != ids.size()) {
    throw FormatError(fmt::format("expected_per_prefix, prefix_decodes: expected {} entries", ids.size()));
  }
  for (size_t n = 1; n <= ids.size(); ++n) {
    expect_text(fmt::format("prefix_decodes[{}]", n - 1), tokenizer.decode(all.first(n)), decodes[n - 1]);
    const bool fires = matcher.match(all.first(n)) >= 0;
    if (fires != want.at(n - 1).boolean()) {
      throw Mismatch(fmt::format("expected_per_prefix[{}]: got {}, expected {}", n - 1, fires, !fires));
    }
  }
}

}  // namespace

void run_stop_strings(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    report.run(c.at("name").string(), [&] {
      const auto tokenizer = set.tokenizer(c.at("tokenizer").string());
      if (!c.has("model")) return check_criterion(*tokenizer, c);
      check_generation(*set.model(c.at("model").string()), tokenizer.get(), file, c);
    });
  }
}

}  // namespace genkit::eval

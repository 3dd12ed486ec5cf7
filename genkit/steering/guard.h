#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "genkit/generate/generate.h"

namespace genkit::steering {

/// The seed of a variant: never the base's own, and another for every variant, so that a variant that
/// equals its base does so because steering did nothing, not because both drew the same numbers.
uint64_t variant_seed(uint64_t base_seed, uint64_t variant);

struct GuardOptions {
  /// A sampled row whose tokens equal the base's is drawn once more, with another seed.
  bool avoid_identical = false;
  /// A sampled row whose text has a match of one of these (ECMAScript regular expressions, looked for
  /// in each line) is drawn once more.
  std::vector<std::string> suspect_patterns;

  bool empty() const { return !avoid_identical && suspect_patterns.empty(); }
};
/// Numbers where there should be prose, and LaTeX: what small models fall into.
std::vector<std::string> default_suspect_patterns();

/// What the guard saw and did.
struct GuardCounters {
  size_t rows = 0;
  size_t identical = 0, identical_resampled = 0, identical_left = 0;
  size_t suspect = 0, suspect_resampled = 0, suspect_left = 0;
  GuardCounters& operator+=(const GuardCounters& other);
};
nlohmann::ordered_json to_json(const GuardCounters& counters);

/// One row, as it is in the end.
struct GuardVerdict {
  bool resampled = false;
  bool identical = false;  ///< to its base; false where it has none
  bool suspect = false;
};

struct GuardedRows {
  std::vector<generate::GeneratedRow> rows;
  std::vector<GuardVerdict> verdicts;  ///< one a row
  GuardCounters counters;
  generate::Timings timings;  ///< of all that was drawn
};

/// Generates, and draws once more what the options do not want, with a seed that follows from the
/// row's. A row is drawn at most once more, whatever it is suspected of.
class Guard {
 public:
  /// @throws ArgumentError "suspect_patterns: ..." for a pattern that is no regular expression.
  explicit Guard(const GuardOptions& options = {});
  ~Guard();
  Guard(Guard&&) noexcept;

  /// Whether there is nothing to look out for.
  bool empty() const { return options_.empty(); }
  bool avoids_identical() const { return options_.avoid_identical; }
  /// Whether a pattern matches in a line of the text; lines count up to 4096 bytes.
  bool is_suspect(const std::string& text) const;
  /// What run() refuses, before anything has run.
  void check(const generate::GenerationRequest& request) const;
  /// @param request its on_token and on_result are not called: what is drawn may not be what stays.
  /// @param base one a prompt, to be compared by tokens: what came of it without steering; null for a
  ///        prompt that nothing steers. Empty: there is none.
  /// @throws as generate::generate(); ArgumentError naming the option where a prompt's mode draws nothing
  ///         and would only give the same again, where it returns several sequences, and where
  ///         avoid_identical has no base.
  GuardedRows run(const models::Model& model, const text::Tokenizer* tokenizer,
                  const generate::GenerationRequest& request,
                  std::span<const generate::GeneratedRow* const> base = {}) const;

 private:
  struct Patterns;
  GuardOptions options_;
  std::unique_ptr<Patterns> patterns_;
};

}  // namespace genkit::steering

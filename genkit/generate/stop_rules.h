#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/generate/stop_strings.h"

namespace genkit::generate {

struct RowSetup;

/// How a sequence ends.
struct Stop {
  FinishReason reason = FinishReason::kLength;
  std::string stop_string;  ///< with kStopString: the one that matched
};

/// When a sequence of one prompt ends: at an EOS id, at a stop string, at its length or its time, asked in
/// that order. The time runs from construction.
/// @source transformers 5.23 _get_stopping_criteria.
class StopRules {
 public:
  /// @throws ArgumentError for stop strings without a tokenizer, and for those that no token can end.
  explicit StopRules(const RowSetup& setup);

  /// @param context the prompt with its padding, then the new tokens: does the newest end it?
  std::optional<Stop> check(std::span<const int32_t> context) const;
  // Each by itself.
  bool is_eos(int32_t id) const;
  bool has_strings() const { return strings_.has_value(); }
  /// The stop string that the newest token completes.
  std::optional<std::string> stop_string(std::span<const int32_t> context) const;
  bool out_of_time() const;

 private:
  std::vector<int32_t> eos_;
  std::optional<StopStringMatcher> strings_;
  size_t max_length_;
  std::optional<double> max_time_;
  Clock clock_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace genkit::generate

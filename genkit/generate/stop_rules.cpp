#include "genkit/generate/stop_rules.h"

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/generate/row_setup.h"

namespace genkit::generate {

StopRules::StopRules(const RowSetup& setup)
    : eos_(setup.config.values.eos_token_id.value_or(std::vector<int32_t>{})),
      max_length_(static_cast<size_t>(setup.prompt.max_length)),
      max_time_(setup.config.values.max_time),
      clock_(setup.clock),
      start_(clock_()) {
  const auto strings = setup.config.values.stop_strings.value_or(std::vector<std::string>{});
  if (strings.empty()) return;
  if (!setup.tokenizer) throw ArgumentError("stop_strings: need the model's tokenizer");
  strings_.emplace(*setup.tokenizer, strings);
}

bool StopRules::is_eos(int32_t id) const { return std::find(eos_.begin(), eos_.end(), id) != eos_.end(); }

std::optional<std::string> StopRules::stop_string(std::span<const int32_t> context) const {
  const int match = strings_ ? strings_->match(context) : -1;
  if (match < 0) return {};
  return strings_->strings()[static_cast<size_t>(match)];
}

bool StopRules::out_of_time() const {
  return max_time_ && std::chrono::duration<double>(clock_() - start_).count() > *max_time_;
}

std::optional<Stop> StopRules::check(std::span<const int32_t> context) const {
  if (is_eos(context.back())) return Stop{FinishReason::kEos, {}};
  if (auto text = stop_string(context)) return Stop{FinishReason::kStopString, std::move(*text)};
  if (context.size() >= max_length_ || out_of_time()) return Stop{FinishReason::kLength, {}};
  return {};
}

}  // namespace genkit::generate

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

class PrefixConstraint : public Processor {
 public:
  PrefixConstraint(PrefixAllowed allowed, size_t row) : allowed_(std::move(allowed)), row_(row) {}
  std::string_view name() const override { return "PrefixConstrainedLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    const std::vector<int32_t> ids = allowed_(row_, context.ids);
    if (ids.empty()) {
      throw ArgumentError(fmt::format("prefix_allowed_tokens_fn: allows nothing in row {}", row_));
    }
    std::vector<float> kept;
    for (const int32_t id : ids) {
      if (id < 0 || id >= scores.vocab_size()) {
        throw ArgumentError(fmt::format("prefix_allowed_tokens_fn: id {} is outside the vocabulary of {}", id,
                                        scores.vocab_size()));
      }
      kept.push_back(scores.values()[id]);
    }
    const bool all_removed = std::all_of(kept.begin(), kept.end(), [](float v) { return v == kRemoved; });
    std::fill(scores.values().begin(), scores.values().end(), kRemoved);
    for (size_t i = 0; i < ids.size(); ++i) scores.values()[ids[i]] = all_removed ? 0 : kept[i];
  }

 private:
  PrefixAllowed allowed_;
  size_t row_;
};

}  // namespace

ProcessorPtr prefix_constraint(PrefixAllowed allowed, size_t row) {
  return std::make_unique<PrefixConstraint>(std::move(allowed), row);
}

void guide(std::span<float> scores, std::span<const float> unconditional, double scale) {
  const double norm = log_sum_exp(scores), other = log_sum_exp(unconditional);
  const auto factor = static_cast<float>(scale);
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto conditional = static_cast<float>(scores[i] - norm);
    const auto base = static_cast<float>(unconditional[i] - other);
    scores[i] = factor * (conditional - base) + base;
  }
}

}  // namespace genkit::logits

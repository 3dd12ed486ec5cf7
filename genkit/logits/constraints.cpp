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
    apply_to_beams({&context, 1}, {&scores, 1});
  }
  void apply_to_beams(std::span<const Context> contexts, std::span<Scores> scores) const override {
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<float>> kept(contexts.size());
    bool all_removed = true;
    for (size_t beam = 0; beam < contexts.size(); ++beam) {
      ids.push_back(allowed(contexts[beam], scores[beam].vocab_size()));
      for (const int32_t id : ids[beam]) kept[beam].push_back(scores[beam].values()[id]);
      all_removed &= std::all_of(kept[beam].begin(), kept[beam].end(), [](float v) { return v == kRemoved; });
    }
    for (size_t beam = 0; beam < contexts.size(); ++beam) {
      const std::span<float> values = scores[beam].values();
      std::fill(values.begin(), values.end(), kRemoved);
      for (size_t i = 0; i < ids[beam].size(); ++i) values[ids[beam][i]] = all_removed ? 0 : kept[beam][i];
    }
  }

 private:
  std::vector<int32_t> allowed(const Context& context, int vocab) const {
    std::vector<int32_t> ids = allowed_(row_, context.ids);
    if (ids.empty()) {
      throw ArgumentError(fmt::format("prefix_allowed_tokens_fn: allows nothing in row {}", row_));
    }
    for (const int32_t id : ids) {
      if (id >= 0 && id < vocab) continue;
      throw ArgumentError(
          fmt::format("prefix_allowed_tokens_fn: id {} is outside the vocabulary of {}", id, vocab));
    }
    return ids;
  }

  PrefixAllowed allowed_;
  size_t row_;
};

}  // namespace

ProcessorPtr prefix_constraint(PrefixAllowed allowed, size_t row) {
  return std::make_unique<PrefixConstraint>(std::move(allowed), row);
}

void guide_logits(std::span<float> scores, std::span<const float> unconditional, double scale) {
  const auto factor = static_cast<float>(scale);
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] = unconditional[i] + (scores[i] - unconditional[i]) * factor;
  }
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

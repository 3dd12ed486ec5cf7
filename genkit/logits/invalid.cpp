#include <algorithm>
#include <cmath>
#include <limits>

#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

class RemoveInvalid : public Processor {
 public:
  std::string_view name() const override { return "InfNanRemoveLogitsProcessor"; }
  void apply(const Context&, Scores& scores) const override {
    constexpr float kMax = std::numeric_limits<float>::max();
    for (float& score : scores.values()) {
      const float held = score != score ? 0.0f : score;
      score = std::min(kMax, std::max(-kMax, held));
    }
  }
};

class Renormalize : public Processor {
 public:
  std::string_view name() const override { return "LogitNormalization"; }
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    scores.transform([&](int32_t, float score) { return static_cast<float>(score - norm); });
  }
};

class EosPriority : public Processor {
 public:
  EosPriority(double probability, std::vector<int32_t> eos)
      : probability_(probability), eos_(std::move(eos)) {}
  std::string_view name() const override { return "BarkEosPrioritizerLogitsProcessor"; }
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    bool reached = false;
    for (const int32_t id : eos_) reached |= std::exp(scores.values()[id] - norm) > probability_;
    if (!reached) return;
    std::vector<float> kept;
    for (const int32_t id : eos_) kept.push_back(scores.values()[id]);
    std::fill(scores.values().begin(), scores.values().end(), kRemoved);
    for (size_t i = 0; i < eos_.size(); ++i) scores.values()[eos_[i]] = kept[i];
  }

 private:
  double probability_;
  std::vector<int32_t> eos_;
};

}  // namespace

ProcessorPtr remove_invalid_values() { return std::make_unique<RemoveInvalid>(); }
ProcessorPtr renormalize() { return std::make_unique<Renormalize>(); }
ProcessorPtr min_eos_p(double probability, std::vector<int32_t> eos) {
  return std::make_unique<EosPriority>(probability, std::move(eos));
}

}  // namespace genkit::logits

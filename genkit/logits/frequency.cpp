#include <algorithm>

#include "genkit/logits/occurrences.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

class FrequencyPenalty : public Processor {
 public:
  FrequencyPenalty(double frequency, double presence, int from)
      : frequency_(static_cast<float>(frequency)), presence_(static_cast<float>(presence)), from_(from) {}
  std::string_view name() const override { return "FrequencyPresencePenalty"; }
  void apply(const Context& context, Scores& scores) const override {
    for (const auto& [id, count] :
         occurrences(context.ids.subspan(std::min<size_t>(from_, context.ids.size())))) {
      // The embedding may have more rows than the head has scores.
      if (id >= scores.vocab_size()) continue;
      float& score = scores.values()[id];
      score -= frequency_ * static_cast<float>(count);
      score -= presence_;
    }
  }

 private:
  float frequency_, presence_;
  int from_;
};

}  // namespace

ProcessorPtr frequency_penalty(double frequency, double presence, int from) {
  return std::make_unique<FrequencyPenalty>(frequency, presence, from);
}

}  // namespace genkit::logits

#include "genkit/generate/strategy.h"

namespace genkit::generate {

void FeedOutput::begin(size_t captures) {
  values_.clear();
  states_.resize(captures);
  for (std::vector<float>& states : states_) states.clear();
}

void FeedOutput::add_logits(std::span<const float> values, size_t vocab) {
  vocab_ = vocab;
  values_.insert(values_.end(), values.begin(), values.end());
}

void FeedOutput::add_states(size_t capture, std::span<const float> values) {
  states_[capture].insert(states_[capture].end(), values.begin(), values.end());
}

}  // namespace genkit::generate

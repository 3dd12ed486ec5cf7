#include "genkit/generate/strategy.h"

namespace genkit::generate {

void FeedOutput::begin(size_t captures) {
  view_ = {};
  owner_.reset();
  values_.clear();
  states_.resize(captures);
  for (std::vector<float>& states : states_) states.clear();
}

void FeedOutput::add_logits(std::span<const float> values, size_t vocab, const mlx::core::array& owner) {
  vocab_ = vocab;
  if (view_.empty()) {
    view_ = values;
    owner_ = owner;
    return;
  }
  if (owner_) values_.assign(view_.begin(), view_.end());
  owner_.reset();
  values_.insert(values_.end(), values.begin(), values.end());
  view_ = values_;
}

void FeedOutput::add_states(size_t capture, std::span<const float> values) {
  states_[capture].insert(states_[capture].end(), values.begin(), values.end());
}

}  // namespace genkit::generate

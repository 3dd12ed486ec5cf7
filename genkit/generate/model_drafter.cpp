#include "genkit/generate/model_drafter.h"

#include <algorithm>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"
#include "genkit/logits/speculative.h"

namespace genkit::generate {

ModelDrafter::ModelDrafter(const RowSetup& setup, const logits::Chain& chain)
    : setup_(setup),
      chain_(chain),
      row_(setup.prompt.tokens, {.border = setup.draft->model.cache_border()}),
      length_(setup.config.values, setup.draft->cost),
      room_(setup.draft->model.config().max_position_embeddings),
      context_(setup.prompt.ids),
      chosen_(context_.size()) {
  if (room_ <= 0) room_ = std::numeric_limits<int>::max();
}

void ModelDrafter::catch_up(std::span<const int32_t> context) {
  const size_t drafted = context_.size() - chosen_;
  size_t right = 0;
  while (right < drafted && chosen_ + right < context.size() &&
         context_[chosen_ + right] == context[chosen_ + right])
    ++right;
  if (drafted > 0) length_.settle(static_cast<int>(drafted), static_cast<int>(right));
  row_.rewind(setup_.draft->cache, drafted - right);
  for (size_t i = chosen_ + right; i < context.size(); ++i) row_.push(context[i]);
  context_.assign(context.begin(), context.end());
  chosen_ = context_.size();
}

void ModelDrafter::begin(std::span<const int32_t> context, int most) {
  catch_up(context);
  tokens_.clear();
  wanted_ = std::min({most, length_.next(), room_ - row_.length()});
}

std::optional<Feed> ModelDrafter::feed() {
  if (static_cast<int>(tokens_.size()) >= wanted_) return {};
  return row_.feed(setup_.draft->cache);
}

bool ModelDrafter::choose(std::vector<float>& values) {
  logits::Scores scores(values);
  const logits::DrawKey key = setup_.key_after(context_.size());
  try {
    chain_.apply({context_}, scores);
    const int32_t id = config::draws(setup_.config.mode) ? logits::sample(scores, key, logits::kDraftDraw)
                                                         : logits::argmax(scores);
    tokens_.push_back(id);
  } catch (const Error&) {
    return false;  // where the model comes there, it says what is wrong
  }
  context_.push_back(tokens_.back());
  row_.push(tokens_.back());
  return true;
}

bool ModelDrafter::doubtful(std::span<const float> scores) const {
  const double threshold = setup_.config.values.assistant_confidence_threshold.value_or(0);
  if (!(threshold > 0)) return false;
  const double norm = logits::log_sum_exp(scores);
  return std::exp(scores[static_cast<size_t>(tokens_.back())] - norm) < threshold;
}

void ModelDrafter::advance(std::span<const float> logits) {
  const size_t place = tokens_.size();
  if (scores_.size() <= place) scores_.resize(place + 1);
  scores_[place].assign(logits.begin(), logits.end());
  const std::vector<int32_t> eos = setup_.config.values.eos_token_id.value_or(std::vector<int32_t>{});
  const bool goes_on = choose(scores_[place]) && !doubtful(scores_[place]) &&
                       std::find(eos.begin(), eos.end(), tokens_.back()) == eos.end();
  if (!goes_on) wanted_ = static_cast<int>(tokens_.size());
}

void ModelDrafter::release() { row_.release(setup_.draft->cache); }

std::span<float> ModelDrafter::scores(size_t place) {
  if (!config::draws(setup_.config.mode)) return {};
  return scores_.at(place);
}

}  // namespace genkit::generate

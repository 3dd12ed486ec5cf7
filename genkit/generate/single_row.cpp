#include "genkit/generate/single_row.h"

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/generate/make_drafter.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/speculative.h"

namespace genkit::generate {

SingleRow::SingleRow(RowSetup setup)
    : setup_(std::move(setup)),
      chain_(setup_.chain()),
      output_(setup_),
      tokens_(setup_.prompt.tokens, setup_.cache),
      unconditional_(unconditional_branch(setup_)) {
  drafter_ = make_drafter(setup_, chain_);
  output_.result().speculative = drafter_ != nullptr;
}

Drafter* SingleRow::begin_draft() {
  if (!drafter_ || output_.finished()) return nullptr;
  // The pass chooses one token more than it is given guesses; the prompt's own has none.
  const std::vector<int32_t>& context = output_.context();
  int most =
      std::min(setup_.prompt.max_length - static_cast<int>(context.size()) - 1, tokens_.room_for_draft());
  if (unconditional_) most = std::min(most, unconditional_->room_for_draft());
  if (output_.new_tokens() == 0) most = 0;
  drafter_->begin(context, std::clamp(most, 0, config::DraftTokens::kMost));
  return drafter_.get();
}

std::vector<Feed> SingleRow::plan(cache::KvCache& cache) {
  draft_.clear();
  place_ = 0;
  if (drafter_ && !output_.finished()) draft_ = drafter_->tokens();
  output_.result().drafted += draft_.size();
  std::vector<Feed> feeds{tokens_.feed(cache, draft_)};
  if (unconditional_) feeds.push_back(unconditional_->feed(cache, draft_));
  return feeds;
}

void SingleRow::begin_as(const SingleRow& other, cache::KvCache& cache) {
  tokens_ = other.tokens_.fork(cache);
  if (other.unconditional_) unconditional_ = other.unconditional_->fork(cache);
}

template <class Choose>
int32_t SingleRow::named(Choose choose) const {
  try {
    return choose();
  } catch (const Error& error) {
    output_.fail(error.what());
  }
}

int32_t SingleRow::choose(std::span<const float> logits, std::span<const float> unconditional) {
  const bool sampling = config::draws(setup_.config.mode);
  const GenerationConfig& config = setup_.config.values;
  const bool plain = chain_.empty() && !unconditional_ && !config.output_scores.value_or(false) &&
                     !config.output_transition_scores.value_or(false);
  if (plain && !sampling) return named([&] { return logits::argmax(logits); });
  scores_.assign(logits.begin(), logits.end());
  if (unconditional_) logits::guide(scores_, unconditional, *config.guidance_scale);
  logits::Scores scores(scores_);
  chain_.apply({output_.context()}, scores);
  if (!sampling) return named([&] { return logits::argmax(scores); });
  const int32_t id = named([&] { return draw(scores); });
  chain_.observe(scores, id);
  return id;
}

int32_t SingleRow::draw(logits::Scores& scores) {
  const logits::DrawKey key = setup_.key_after(output_.context().size());
  if (place_ < draft_.size()) {
    const std::span<float> proposal = drafter_->scores(place_);
    if (!proposal.empty()) {
      return logits::verify(scores, logits::Scores(proposal), draft_[place_], key);
    }
  }
  return logits::sample(scores, key);
}

void SingleRow::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                        std::vector<StreamEvent>& events) {
  const bool was_finished = output_.finished();
  const std::span<const float> logits = outputs[0].logits(place_);
  const int32_t id =
      choose(logits, unconditional_ ? outputs[1].logits(std::min(place_, outputs[1].count() - 1)) : logits);
  const bool foreseen = place_ < draft_.size() && draft_[place_] == id;
  output_.result().accepted += foreseen;
  tokens_.push(id);
  if (unconditional_) unconditional_->push(id);
  output_.add(id, logits, scores_, events);
  ++place_;
  // A row that runs on after its end has no more drafts, so that the rest of this one is none either.
  has_more_ = foreseen && output_.finished() == was_finished;
  if (has_more_) return;
  tokens_.drop_draft(cache);
  if (unconditional_) unconditional_->drop_draft(cache);
}

void SingleRow::release(cache::KvCache& cache) {
  tokens_.keep(cache);
  tokens_.release(cache);
  if (unconditional_) unconditional_->release(cache);
  if (drafter_) drafter_->release();
}

}  // namespace genkit::generate

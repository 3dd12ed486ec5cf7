#include "genkit/generate/single_row.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/generate/make_drafter.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"
#include "genkit/logits/speculative.h"

namespace genkit::generate {

SingleRow::SingleRow(RowSetup setup)
    : setup_(std::move(setup)),
      chain_({.config = setup_.config.values,
              .mode = setup_.config.mode,
              .prompt = setup_.prompt.ids,
              .padding = setup_.prompt.padding,
              .max_length = setup_.prompt.max_length,
              .vocab_size = setup_.vocab_size,
              .user_processors = setup_.user_processors,
              .prefix_allowed = setup_.prefix_allowed,
              .row = setup_.row}),
      start_(std::chrono::steady_clock::now()),
      context_(setup_.prompt.ids),
      tokens_(setup_.prompt.tokens, setup_.cache) {
  const GenerationConfig& config = setup_.config.values;
  const std::vector<std::string> stops = config.stop_strings.value_or(std::vector<std::string>{});
  if (!stops.empty()) {
    if (!setup_.tokenizer) throw ArgumentError("stop_strings: need the model's tokenizer");
    stop_strings_.emplace(*setup_.tokenizer, stops);
  }
  if (setup_.tokenizer) text_.emplace(*setup_.tokenizer, stops, setup_.skip_special_tokens);
  if (config.guidance_scale.value_or(1) != 1) {
    std::vector<int32_t> negative = setup_.negative_prompt;
    if (negative.empty()) negative = {setup_.prompt.ids.back()};
    CacheSettings settings = setup_.cache;
    settings.keep = false;  // no later row begins with it
    unconditional_.emplace(std::move(negative), settings);
  }
  drafter_ = make_drafter(setup_, chain_);
  result_.speculative = drafter_ != nullptr;
  result_.prompt_ids = setup_.prompt.ids;
  result_.seed = setup_.key.seed;
}

Drafter* SingleRow::begin_draft() {
  if (!drafter_ || finished_) return nullptr;
  // The pass chooses one token more than it is given guesses; the prompt's own has none.
  int most =
      std::min(setup_.prompt.max_length - static_cast<int>(context_.size()) - 1, tokens_.room_for_draft());
  if (unconditional_) most = std::min(most, unconditional_->room_for_draft());
  if (context_.size() == setup_.prompt.ids.size()) most = 0;
  drafter_->begin(context_, std::clamp(most, 0, config::DraftTokens::kMost));
  return drafter_.get();
}

std::vector<Feed> SingleRow::plan(cache::KvCache& cache) {
  draft_.clear();
  if (drafter_ && !finished_) draft_ = drafter_->tokens();
  place_ = 0;
  result_.drafted += draft_.size();
  std::vector<Feed> feeds{tokens_.feed(cache, draft_)};
  if (unconditional_) feeds.push_back(unconditional_->feed(cache, draft_));
  return feeds;
}

template <class Choose>
int32_t SingleRow::named(Choose choose) const {
  try {
    return choose();
  } catch (const Error& error) {
    throw Error(fmt::format("row {}, new token {}: {}", setup_.row, setup_.key.step, error.what()));
  }
}

int32_t SingleRow::choose(std::span<const FeedOutput> outputs) {
  const bool sampling = config::draws(setup_.config.mode);
  const GenerationConfig& config = setup_.config.values;
  setup_.key.step = context_.size() - setup_.prompt.ids.size();
  const bool plain = chain_.empty() && !unconditional_ && !config.output_scores.value_or(false);
  const std::span<const float> logits = outputs[0].logits(place_);
  if (plain && !sampling) return named([&] { return logits::argmax(logits); });
  scores_.assign(logits.begin(), logits.end());
  if (unconditional_) logits::guide(scores_, outputs[1].logits(place_), *config.guidance_scale);
  logits::Scores scores(scores_);
  chain_.apply({context_}, scores);
  if (config.output_scores.value_or(false) && !finished_) result_.scores.push_back(scores_);
  return named([&] { return sampling ? draw(scores) : logits::argmax(scores); });
}

int32_t SingleRow::draw(logits::Scores& scores) {
  if (place_ < draft_.size()) {
    const std::span<float> proposal = drafter_->scores(place_);
    if (!proposal.empty()) {
      return logits::verify(scores, logits::Scores(proposal), draft_[place_], setup_.key);
    }
  }
  return logits::sample(scores, setup_.key);
}

void SingleRow::record(int32_t id, std::span<const float> logits) {
  const GenerationConfig& config = setup_.config.values;
  result_.ids.push_back(id);
  if (config.output_logits.value_or(false)) result_.logits.emplace_back(logits.begin(), logits.end());
  if (!config.top_logprobs) return;
  const double norm = logits::log_sum_exp(logits);
  result_.logprobs.push_back(static_cast<float>(logits[static_cast<size_t>(id)] - norm));
  std::vector<TokenLogprob>& top = result_.top_logprobs.emplace_back();
  for (const auto& [best, value] : logits::largest(logits, *config.top_logprobs)) {
    top.push_back({best, static_cast<float>(value - norm)});
  }
}

std::optional<FinishReason> SingleRow::stop_reason(int32_t id) {
  const GenerationConfig& config = setup_.config.values;
  const auto eos = config.eos_token_id.value_or(std::vector<int32_t>{});
  if (std::find(eos.begin(), eos.end(), id) != eos.end()) return FinishReason::kEos;
  if (stop_strings_) {
    if (const int k = stop_strings_->match(context_); k >= 0) {
      result_.stop_string = stop_strings_->strings()[static_cast<size_t>(k)];
      return FinishReason::kStopString;
    }
  }
  if (static_cast<int>(context_.size()) >= setup_.prompt.max_length) return FinishReason::kLength;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  if (config.max_time && passed.count() > *config.max_time) return FinishReason::kLength;
  return {};
}

void SingleRow::finish(FinishReason reason, StreamEvent& event) {
  finished_ = true;
  event.finished = true;
  result_.finish_reason = reason;
  if (text_) {
    event.text += text_->finish(reason == FinishReason::kStopString);
    result_.text = text_->text();
  }
}

void SingleRow::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                        std::vector<StreamEvent>& events) {
  const bool was_finished = finished_;
  const int32_t id = choose(outputs);
  const bool foreseen = place_ < draft_.size() && draft_[place_] == id;
  result_.accepted += foreseen;
  add(id, outputs[0].logits(place_), events);
  ++place_;
  // A row that runs on after its end has no more drafts, so that the rest of this one is none either.
  has_more_ = foreseen && finished_ == was_finished;
  if (has_more_) return;
  tokens_.drop_draft(cache);
  if (unconditional_) unconditional_->drop_draft(cache);
}

void SingleRow::add(int32_t id, std::span<const float> logits, std::vector<StreamEvent>& events) {
  context_.push_back(id);
  tokens_.push(id);
  if (unconditional_) unconditional_->push(id);
  if (finished_) {  // running on
    result_.overrun.push_back(id);
    done_ = static_cast<int>(context_.size()) >= setup_.prompt.max_length;
    return;
  }
  record(id, logits);
  StreamEvent event{.row = setup_.row, .token = id, .text = {}, .finished = false};
  const std::optional<FinishReason> reason = stop_reason(id);
  // EOS is no part of the text, whether the tokenizer calls it special or not.
  if (text_ && reason != FinishReason::kEos) event.text = text_->push(id);
  if (reason) {
    finish(*reason, event);
    const bool has_eos = !setup_.config.values.eos_token_id.value_or(std::vector<int32_t>{}).empty();
    done_ = !(setup_.overrun && *reason == FinishReason::kStopString && !has_eos &&
              static_cast<int>(context_.size()) < setup_.prompt.max_length);
  }
  events.push_back(std::move(event));
}

void SingleRow::cancel(std::vector<StreamEvent>& events) {
  done_ = true;
  if (finished_) return;
  StreamEvent event;
  event.row = setup_.row;
  finish(FinishReason::kCancelled, event);
  events.push_back(std::move(event));
}

void SingleRow::release(cache::KvCache& cache) {
  tokens_.keep(cache);
  tokens_.release(cache);
  if (unconditional_) unconditional_->release(cache);
  if (drafter_) drafter_->release();
}

}  // namespace genkit::generate

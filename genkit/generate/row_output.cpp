#include "genkit/generate/row_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/generate/prompt_scores.h"
#include "genkit/logits/selection.h"

namespace genkit::generate {

RowOutput::RowOutput(const RowSetup& setup) : setup_(setup), stop_(setup), context_(setup.prompt.ids) {
  const auto stops = setup.config.values.stop_strings.value_or(std::vector<std::string>{});
  if (setup.tokenizer) text_.emplace(*setup.tokenizer, stops, setup.skip_special_tokens);
  result_.prompt_ids = setup.prompt.ids;
  result_.seed = setup.key.seed;
}

void RowOutput::record(int32_t id, std::span<const float> logits, std::span<const float> scores) {
  const GenerationConfig& config = setup_.config.values;
  result_.ids.push_back(id);
  if (config.output_scores.value_or(false)) result_.scores.emplace_back(scores.begin(), scores.end());
  if (config.output_logits.value_or(false)) result_.logits.emplace_back(logits.begin(), logits.end());
  if (config.output_transition_scores.value_or(false)) {
    const float score = scores[static_cast<size_t>(id)];
    result_.transition_scores.push_back(score);
    result_.normalized_transition_scores.push_back(static_cast<float>(score - logits::log_sum_exp(scores)));
  }
  if (!config.top_logprobs) return;
  const double norm = logits::log_sum_exp(logits);
  result_.logprobs.push_back(static_cast<float>(logits[static_cast<size_t>(id)] - norm));
  result_.top_logprobs.push_back(best_logprobs(logits, norm, *config.top_logprobs));
}

void RowOutput::finish(FinishReason reason, StreamEvent& event) {
  finished_ = true;
  event.finished = true;
  result_.finish_reason = reason;
  if (text_) {
    event.text += text_->finish(reason == FinishReason::kStopString);
    result_.text = text_->text();
  }
}

void RowOutput::add(int32_t id, std::span<const float> logits, std::span<const float> scores,
                    std::vector<StreamEvent>& events) {
  context_.push_back(id);
  const bool full = static_cast<int>(context_.size()) >= setup_.prompt.max_length;
  if (finished_) {  // running on
    result_.overrun.push_back(id);
    done_ = full;
    return;
  }
  record(id, logits, scores);
  StreamEvent event{
      .row = setup_.row, .sequence = setup_.sequence, .token = id, .text = {}, .finished = false};
  const std::optional<Stop> stop = stop_.check(context_);
  // EOS is no part of the text, whether the tokenizer calls it special or not.
  if (text_ && !stop_.is_eos(id)) event.text = text_->push(id);
  if (stop) {
    result_.stop_string = stop->stop_string;
    finish(stop->reason, event);
    const bool has_eos = !setup_.config.values.eos_token_id.value_or(std::vector<int32_t>{}).empty();
    done_ = !(setup_.overrun && stop->reason == FinishReason::kStopString && !has_eos && !full);
  }
  events.push_back(std::move(event));
}

void RowOutput::cancel(std::vector<StreamEvent>& events) {
  done_ = true;
  if (finished_) return;
  StreamEvent event;
  event.row = setup_.row;
  event.sequence = setup_.sequence;
  finish(FinishReason::kCancelled, event);
  events.push_back(std::move(event));
}

void RowOutput::fail(const std::string& what) const {
  throw Error(fmt::format("row {}, new token {}: {}", setup_.row, new_tokens(), what));
}

std::optional<CacheRow> unconditional_branch(const RowSetup& setup) {
  const GenerationConfig& config = setup.config.values;
  if (config.guidance_scale.value_or(1) == 1) return {};
  std::vector<int32_t> negative = setup.negative_prompt;
  if (negative.empty()) negative = {setup.prompt.ids.back()};
  CacheSettings settings = setup.cache;
  settings.keep = false;  // no later row begins with it
  settings.hooked.has_prefix = false;
  return CacheRow(std::move(negative), settings);
}

}  // namespace genkit::generate

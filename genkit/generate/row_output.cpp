#include "genkit/generate/row_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/logits/selection.h"

namespace genkit::generate {

RowOutput::RowOutput(const RowSetup& setup)
    : setup_(setup), start_(std::chrono::steady_clock::now()), context_(setup.prompt.ids) {
  const auto stops = setup.config.values.stop_strings.value_or(std::vector<std::string>{});
  if (!stops.empty()) {
    if (!setup.tokenizer) throw ArgumentError("stop_strings: need the model's tokenizer");
    stop_strings_.emplace(*setup.tokenizer, stops);
  }
  if (setup.tokenizer) text_.emplace(*setup.tokenizer, stops, setup.skip_special_tokens);
  result_.prompt_ids = setup.prompt.ids;
  result_.seed = setup.key.seed;
}

void RowOutput::record(int32_t id, std::span<const float> logits, std::span<const float> scores) {
  const GenerationConfig& config = setup_.config.values;
  result_.ids.push_back(id);
  if (config.output_scores.value_or(false)) result_.scores.emplace_back(scores.begin(), scores.end());
  if (config.output_logits.value_or(false)) result_.logits.emplace_back(logits.begin(), logits.end());
  if (!config.top_logprobs) return;
  const double norm = logits::log_sum_exp(logits);
  result_.logprobs.push_back(static_cast<float>(logits[static_cast<size_t>(id)] - norm));
  std::vector<TokenLogprob>& top = result_.top_logprobs.emplace_back();
  for (const auto& [best, value] : logits::largest(logits, *config.top_logprobs)) {
    top.push_back({best, static_cast<float>(value - norm)});
  }
}

std::optional<FinishReason> RowOutput::stop_reason(int32_t id) {
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
  StreamEvent event{.row = setup_.row, .token = id, .text = {}, .finished = false};
  const std::optional<FinishReason> reason = stop_reason(id);
  // EOS is no part of the text, whether the tokenizer calls it special or not.
  if (text_ && reason != FinishReason::kEos) event.text = text_->push(id);
  if (reason) {
    finish(*reason, event);
    const bool has_eos = !setup_.config.values.eos_token_id.value_or(std::vector<int32_t>{}).empty();
    done_ = !(setup_.overrun && *reason == FinishReason::kStopString && !has_eos && !full);
  }
  events.push_back(std::move(event));
}

void RowOutput::cancel(std::vector<StreamEvent>& events) {
  done_ = true;
  if (finished_) return;
  StreamEvent event;
  event.row = setup_.row;
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
  return CacheRow(std::move(negative), settings);
}

}  // namespace genkit::generate

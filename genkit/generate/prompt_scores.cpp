#include "genkit/generate/prompt_scores.h"

#include <limits>

#include "genkit/logits/selection.h"

namespace genkit::generate {

std::vector<TokenLogprob> best_logprobs(std::span<const float> logits, double norm, int n) {
  std::vector<TokenLogprob> out;
  for (const auto& [id, value] : logits::largest(logits, n)) {
    out.push_back({id, static_cast<float>(value - norm)});
  }
  return out;
}

PromptScores::PromptScores(std::vector<int32_t> tokens, int virtual_tokens, int top)
    : tokens_(std::move(tokens)), first_(static_cast<size_t>(virtual_tokens)), top_(top) {
  if (first_ > 0) return;
  logprobs_.push_back(std::numeric_limits<float>::quiet_NaN());
  best_.emplace_back();
}

void PromptScores::add(std::span<const float> logits, size_t vocab) {
  for (size_t at = 0; at < logits.size(); at += vocab) {
    const size_t next = ++done_;
    if (next < first_ || next >= tokens_.size()) continue;
    const std::span<const float> scores = logits.subspan(at, vocab);
    const double norm = logits::log_sum_exp(scores);
    logprobs_.push_back(static_cast<float>(scores[static_cast<size_t>(tokens_[next])] - norm));
    best_.push_back(best_logprobs(scores, norm, top_));
  }
}

void PromptScores::give_to(GeneratedRow& row) {
  if (done_ < tokens_.size()) return;
  row.prompt_logprobs = std::move(logprobs_);
  row.prompt_top_logprobs = std::move(best_);
}

}  // namespace genkit::generate

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

PromptScores::PromptScores(std::vector<int32_t> tokens, int top) : tokens_(std::move(tokens)), top_(top) {
  logprobs_.push_back(std::numeric_limits<float>::quiet_NaN());
  best_.emplace_back();
}

void PromptScores::add(const FeedOutput& output) {
  const size_t count = end() - done_;
  const size_t first = output.count() - count;
  for (size_t i = 0; i < count && done_ + i + 1 < tokens_.size(); ++i) {
    const std::span<const float> logits = output.logits(first + i);
    const double norm = logits::log_sum_exp(logits);
    const int32_t next = tokens_[done_ + i + 1];
    logprobs_.push_back(static_cast<float>(logits[static_cast<size_t>(next)] - norm));
    best_.push_back(best_logprobs(logits, norm, top_));
  }
  done_ += count;
}

void PromptScores::give_to(GeneratedRow& row) {
  row.prompt_logprobs = std::move(logprobs_);
  row.prompt_top_logprobs = std::move(best_);
}

}  // namespace genkit::generate

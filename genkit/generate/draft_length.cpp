#include "genkit/generate/draft_length.h"

#include <algorithm>
#include <cmath>

namespace genkit::generate {
namespace {

constexpr int kLongestAutomatic = 16;
constexpr int kHeuristicBegin = 20;  ///< transformers' num_assistant_tokens
/// One more token in the model's own pass, in units of a pass. Where one costs more, drafts come out somewhat
/// too long; it is no measured number, so that a draft's length depends on the row alone.
constexpr double kVerifyCost = 0.1;
constexpr double kUsualChance = 0.7, kUsualGuesses = 5;
constexpr double kRemembered = 40;
/// Where drafts do not pay, one of kTried tokens is made after so many steps, to see whether they do
/// by now.
constexpr int kTried = 2, kFirstWait = 8, kLongestWait = 64;

}  // namespace

DraftLength::DraftLength(const config::GenerationConfig& config, double draft_cost)
    : token_cost_(kVerifyCost + draft_cost),
      right_(kUsualChance * kUsualGuesses),
      made_(kUsualGuesses),
      wait_(kFirstWait) {
  const config::DraftTokens tokens = config.num_assistant_tokens.value_or(config::DraftTokens{});
  heuristic_ = config.num_assistant_tokens_schedule.value_or(config::DraftSchedule::kConstant) !=
               config::DraftSchedule::kConstant;
  automatic_ = !tokens.count && !heuristic_;
  length_ = tokens.count.value_or(kHeuristicBegin);
}

/// The length whose expected tokens, for their cost, are the most.
int DraftLength::best() const {
  const double chance = right_ / made_;
  double yield = 1, reached = 1, best_rate = 1;
  int best = 0;
  for (int length = 1; length <= kLongestAutomatic; ++length) {
    reached *= chance;
    yield += reached;
    const double rate = yield / (1 + token_cost_ * length);
    if (rate > best_rate) {
      best_rate = rate;
      best = length;
    }
  }
  return best;
}

int DraftLength::next() {
  if (!automatic_) return length_;
  const int length = best();
  if (length > 0) {
    waiting_ = 0;
    wait_ = kFirstWait;
    return length;
  }
  if (++waiting_ < wait_) return 0;
  waiting_ = 0;
  wait_ = std::min(2 * wait_, kLongestWait);
  return kTried;
}

int DraftLength::longest() const {
  if (automatic_) return kLongestAutomatic;
  return heuristic_ ? config::DraftTokens::kMost : length_;
}

void DraftLength::settle(int drafted, int accepted) {
  if (heuristic_)
    length_ =
        accepted == drafted ? std::min(length_ + 2, config::DraftTokens::kMost) : std::max(1, length_ - 1);
  const double judged = accepted + (accepted < drafted ? 1 : 0);
  const double kept = std::min(1.0, kRemembered / (made_ + judged));
  right_ = right_ * kept + accepted;
  made_ = made_ * kept + judged;
}

}  // namespace genkit::generate

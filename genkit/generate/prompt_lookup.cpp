#include "genkit/generate/prompt_lookup.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::generate {
namespace {

/// Shortest agreement of each bucket, and the chance that its guesses have before anything is known.
constexpr std::array<std::pair<int, double>, 8> kBuckets = {
    {{1, 0.1}, {2, 0.25}, {3, 0.4}, {4, 0.5}, {5, 0.6}, {7, 0.7}, {10, 0.8}, {16, 0.9}}};
constexpr double kPriorGuesses = 3;
constexpr double kRemembered = 40;
/// A draft must promise that much more than it costs: the estimates are rough, and what it costs to be
/// wrong is certain.
constexpr double kMargin = 1.2;

}  // namespace

Occurrence find_occurrence(std::span<const int32_t> ids, int longest) {
  Occurrence best;
  const int n = static_cast<int>(ids.size());
  const auto agreement = [&](int next, int limit) {
    int length = 0;
    while (length < limit && length < next &&
           ids[static_cast<size_t>(next - 1 - length)] == ids[static_cast<size_t>(n - 1 - length)])
      ++length;
    return length;
  };
  for (int next = n - 1; next >= 1 && best.agreement < longest; --next) {
    const int length = agreement(next, longest);
    if (length > best.agreement) best = {static_cast<size_t>(next), length};
  }
  if (best.agreement > 0) {
    best.agreement = agreement(static_cast<int>(best.next), kAgreementCounted);
  }
  return best;
}

PromptLookup::PromptLookup(int num_tokens, int longest, std::shared_ptr<const PassCost> cost)
    : num_tokens_(num_tokens), longest_(longest), cost_(std::move(cost)) {
  for (size_t i = 0; i < records_.size(); ++i) {
    records_[i] = {kPriorGuesses * kBuckets[i].second, kPriorGuesses};
  }
}

size_t PromptLookup::bucket(int agreement) {
  size_t i = kBuckets.size() - 1;
  while (i > 0 && agreement < kBuckets[i].first) --i;
  return i;
}

double PromptLookup::chance(int agreement) const {
  const Record& record = records_[bucket(agreement)];
  return record.right / record.made;
}

void PromptLookup::learn(std::span<const int32_t> context) {
  for (size_t i = 0; i < guess_.size() && context_size_ + i < context.size(); ++i) {
    Record& record = records_[bucket(agreement_ + static_cast<int>(i))];
    const double kept = std::min(1.0, kRemembered / record.made);
    const bool right = guess_[i] == context[context_size_ + i];
    record = {record.right * kept + (right ? 1 : 0), record.made * kept + 1};
    if (!right) return;
  }
}

void PromptLookup::begin(std::span<const int32_t> context, int most) {
  learn(context);
  tokens_.clear();
  guess_.clear();
  context_size_ = context.size();
  const Occurrence found = find_occurrence(context, longest_);
  agreement_ = found.agreement;
  if (found.agreement == 0) return;
  for (int i = 0; i < num_tokens_; ++i) {
    // Past the row's end the guess goes on with itself, as a text of one repeated phrase does.
    const size_t from = found.next + static_cast<size_t>(i);
    guess_.push_back(from < context.size() ? context[from] : guess_[from - context.size()]);
  }
  // One token more pays as long as the chance that it counts, for its cost, is above what the pass
  // yields without it.
  const double cost = cost_->marginal();
  double reached = 1, yield = 1;
  for (int i = 0; i < std::min(num_tokens_, most); ++i) {
    reached *= chance(agreement_ + i);
    if (reached * (1 + cost * i) < kMargin * cost * yield) break;
    yield += reached;
    tokens_.push_back(guess_[static_cast<size_t>(i)]);
  }
}

void CallerDrafter::begin(std::span<const int32_t> context, int most) {
  tokens_.clear();
  if (most < 1) return;
  tokens_ = propose_(row_, context, most);
  if (tokens_.size() > static_cast<size_t>(most)) tokens_.resize(static_cast<size_t>(most));
  for (const int32_t id : tokens_) {
    if (id >= 0 && id < vocab_size_) continue;
    throw ArgumentError(
        fmt::format("propose_tokens: id {} is outside the vocabulary of {}", id, vocab_size_));
  }
}

}  // namespace genkit::generate

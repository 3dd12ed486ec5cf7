#include "genkit/generate/contrastive_search.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "genkit/base/thread_pool.h"
#include "genkit/logits/selection.h"

namespace genkit::generate {
namespace {

/// In sixteen sums side by side, which compilers turn into vector instructions.
float dot(const float* a, const float* b, size_t n) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> sums{};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float total = 0;
  for (; i < n; ++i) total += a[i] * b[i];
  for (const float sum : sums) total += sum;
  return total;
}

/// Appends rows of `hidden` numbers, each divided by its length.
void append_directions(std::span<const float> rows, size_t hidden, std::vector<float>& out) {
  for (size_t at = 0; at + hidden <= rows.size(); at += hidden) {
    const float* row = rows.data() + at;
    const float length = std::sqrt(dot(row, row, hidden));
    for (size_t i = 0; i < hidden; ++i) out.push_back(row[i] / length);
  }
}

const std::vector<Capture>& last_states() {
  static const std::vector<Capture> captures = {{.site = models::Site::kFinal, .layer = 0}};
  return captures;
}

}  // namespace

ContrastiveSearch::ContrastiveSearch(RowSetup setup)
    : setup_(std::move(setup)),
      chain_(setup_.chain()),
      output_(setup_),
      row_(setup_.prompt.tokens, setup_.cache),
      unconditional_(unconditional_branch(setup_)) {}

std::vector<Feed> ContrastiveSearch::plan(cache::KvCache& cache) {
  std::vector<Feed> feeds;
  if (phase_ == Phase::kPrompt) {
    feeds.push_back(row_.feed(cache));
    feeds.back().captures = last_states();
  }
  if (phase_ != Phase::kCandidates) {
    if (unconditional_) feeds.push_back(unconditional_->feed(cache));
    return feeds;
  }
  for (Candidate& candidate : candidates_) {
    // The last one takes the row over; one of them will be it.
    const bool last = &candidate == &candidates_.back();
    candidate.row.emplace(last ? std::move(row_) : row_.fork(cache));
    candidate.row->push(candidate.id);
    feeds.push_back(candidate.row->feed(cache));
    feeds.back().captures = last_states();
  }
  return feeds;
}

void ContrastiveSearch::propose() {
  scores_ = logits_;
  if (unconditional_) logits::guide(scores_, unconditional_logits_, *setup_.config.values.guidance_scale);
  logits::Scores scores(scores_);
  chain_.apply({output_.context()}, scores);
  const double norm = logits::log_sum_exp(std::span<const float>(scores_));
  if (std::isnan(norm))
    output_.fail(
        "logits: a score is not a number, so that no token can be chosen; see remove_invalid_values");
  candidates_.clear();
  for (const auto& [id, score] : logits::largest(scores_, *setup_.config.values.top_k)) {
    if (!(score > logits::kRemoved)) break;
    candidates_.push_back({.id = id, .probability = static_cast<float>(std::exp(score - norm)), .row = {}});
  }
  if (candidates_.empty()) output_.fail("logits: every token is removed, so that none can be chosen");
  phase_ = Phase::kCandidates;
}

size_t ContrastiveSearch::rank(const std::vector<std::vector<float>>& states) const {
  const auto alpha = static_cast<float>(*setup_.config.values.penalty_alpha);
  const size_t hidden = states.front().size(), tokens = states_.size() / hidden;
  std::vector<float> scores(states.size());
  parallel_for(static_cast<int64_t>(states.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      float likeness = -std::numeric_limits<float>::infinity();
      for (size_t token = 0; token < tokens; ++token) {
        likeness = std::max(likeness, dot(states_.data() + token * hidden, states[i].data(), hidden));
      }
      scores[i] = (1.0f - alpha) * candidates_[i].probability - alpha * likeness;
    }
  });
  return static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

void ContrastiveSearch::choose(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                               std::vector<StreamEvent>& events) {
  const auto hidden = static_cast<size_t>(setup_.model->config().hidden_size);
  std::vector<std::vector<float>> states(candidates_.size());
  for (size_t i = 0; i < candidates_.size(); ++i) {
    append_directions(outputs[i].states(0).last(hidden), hidden, states[i]);
  }
  const size_t best = rank(states);
  const int32_t id = candidates_[best].id;
  row_ = std::move(*candidates_[best].row);
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i != best) candidates_[i].row->release(cache);
  }
  candidates_.clear();
  output_.add(id, logits_, scores_, events);
  states_.insert(states_.end(), states[best].begin(), states[best].end());
  const std::span<const float> next = outputs[best].last_logits();
  logits_.assign(next.begin(), next.end());
  if (output_.done()) return;
  if (unconditional_) {
    unconditional_->push(id);
    phase_ = Phase::kGuidance;
  } else {
    propose();
  }
}

void ContrastiveSearch::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                                std::vector<StreamEvent>& events) {
  if (phase_ == Phase::kCandidates) {
    choose(cache, outputs, events);
    return;
  }
  if (phase_ == Phase::kPrompt) {
    const auto hidden = static_cast<size_t>(setup_.model->config().hidden_size);
    append_directions(outputs.front().states(0), hidden, states_);
    logits_.assign(outputs.front().last_logits().begin(), outputs.front().last_logits().end());
  }
  if (unconditional_) {
    const std::span<const float> other = outputs.back().last_logits();
    unconditional_logits_.assign(other.begin(), other.end());
  }
  propose();
}

void ContrastiveSearch::release(cache::KvCache& cache) {
  for (Candidate& candidate : candidates_) {
    if (candidate.row) candidate.row->release(cache);
  }
  row_.release(cache);
  if (unconditional_) unconditional_->release(cache);
}

}  // namespace genkit::generate

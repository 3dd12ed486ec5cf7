#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "genkit/config/generation_config.h"

namespace genkit::generate {

/// The best ended beams of one prompt, and whether to go on looking for better ones.
/// @source transformers 5.23 _update_finished_beams, _check_early_stop_heuristic.
/// @tparam Beam what is kept of an ended beam.
template <class Beam>
class FinishedBeams {
 public:
  struct Options {
    int num_beams = 1;
    double length_penalty = 1;
    config::EarlyStopping early_stopping = config::EarlyStopping::kFalse;
    int max_new_tokens = 0;  ///< the most that a beam can have
  };
  struct Entry {
    float score;  ///< length penalty included
    Beam beam;
  };

  explicit FinishedBeams(const Options& options) : options_(options) {}

  /// The sum of log-probabilities over the number of new tokens, EOS included, to the penalty.
  float penalized(float sum, int new_tokens) const {
    return sum / static_cast<float>(std::pow(new_tokens, options_.length_penalty));
  }
  /// Whether a beam with that score would be kept.
  bool admits(float score) const {
    if (!(score > kNone)) return false;
    return !full() || score > entries_.back().score;
  }
  void add(float score, Beam beam) {
    const auto after = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.score < score; });
    entries_.insert(after, {score, std::move(beam)});
    if (entries_.size() > static_cast<size_t>(options_.num_beams)) entries_.pop_back();
  }
  bool full() const { return entries_.size() == static_cast<size_t>(options_.num_beams); }

  /// Whether running beams may still improve on what is here. Once they may not, that is final.
  /// @param best       sum of log-probabilities of the best running beam.
  /// @param new_tokens that it has.
  bool improvable(float best, int new_tokens) {
    const bool longest =
        options_.early_stopping == config::EarlyStopping::kNever && options_.length_penalty > 0;
    const float possible = penalized(best, longest ? options_.max_new_tokens : new_tokens);
    improvable_ &= possible > (full() ? entries_.back().score : kNone);
    return improvable_ && !(full() && options_.early_stopping == config::EarlyStopping::kTrue);
  }

  /// Best first.
  std::vector<Entry>& entries() { return entries_; }

 private:
  static constexpr float kNone = -1e9f;  ///< what stands for a beam that is not there

  Options options_;
  std::vector<Entry> entries_;
  bool improvable_ = true;
};

}  // namespace genkit::generate

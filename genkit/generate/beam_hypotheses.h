#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "genkit/generate/beams.h"

namespace genkit::generate {

/// The ended beams of one prompt, or of one group of its beams, as transformers kept them before 5.0: where
/// FinishedBeams weighs the best beam that runs on, this weighs the best continuation of a step, ended
/// or not.
/// @source transformers 4.55.4 BeamHypotheses.
class BeamHypotheses {
 public:
  struct Entry {
    double score;  ///< length penalty included
    BeamPath path;
  };

  BeamHypotheses(const Beams& beams, int width)
      : width_(static_cast<size_t>(width)),
        length_penalty_(*beams.config().length_penalty),
        early_stopping_(*beams.config().early_stopping),
        max_new_tokens_(beams.max_new_tokens()) {}

  /// @param sum of log-probabilities; @param new_tokens EOS included.
  void add(float sum, int new_tokens, BeamPath path) {
    const double score = penalized(sum, new_tokens);
    if (entries_.size() >= width_ && !(score > worst_)) return;
    entries_.push_back({score, std::move(path)});
    if (entries_.size() <= width_) {
      worst_ = std::min(worst_, score);
      return;
    }
    // Of equal ones the first goes.
    entries_.erase(lowest());
    worst_ = lowest()->score;
  }
  /// Whether nothing better can be expected; final once it is true.
  /// @param best sum of log-probabilities of the step's best continuation, with `new_tokens`.
  bool done(float best, int new_tokens) {
    if (done_ || entries_.size() < width_) return done_;
    if (early_stopping_ == config::EarlyStopping::kTrue) return done_ = true;
    const bool longest = early_stopping_ == config::EarlyStopping::kNever && length_penalty_ > 0;
    return done_ = worst_ >= penalized(best, longest ? max_new_tokens_ : new_tokens);
  }
  bool done() const { return done_; }
  /// In the order in which they came.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  double penalized(float sum, int new_tokens) const {
    return static_cast<double>(sum) / std::pow(new_tokens, length_penalty_);
  }
  std::vector<Entry>::iterator lowest() {
    return std::min_element(entries_.begin(), entries_.end(),
                            [](const Entry& a, const Entry& b) { return a.score < b.score; });
  }

  size_t width_;
  double length_penalty_;
  config::EarlyStopping early_stopping_;
  int max_new_tokens_;
  std::vector<Entry> entries_;
  double worst_ = std::numeric_limits<double>::infinity();
  bool done_ = false;
};

/// A continuation that ends its beam.
struct BeamEnd {
  Continuation next;
  FinishReason reason = FinishReason::kEos;
  std::string stop_string;
};

/// The best continuations of a step, apart by whether they end their beams.
struct BeamStepChoice {
  std::vector<Continuation> running;  ///< at most `width`; fewer where everything else is removed
  std::vector<BeamEnd> ended;         ///< those among the first `width`
  float best = 0;                     ///< score of the best of all
};

/// Looks at the beams that were scored last. @param continuations that are looked at; more where too few of
/// those run on.
/// @source transformers 4.55.4 BeamSearchScorer.process; stop strings end a beam as in 5.23.
BeamStepChoice choose_step(Beams& beams, int continuations, int width);
/// The path of a beam that ends. Whichever EOS id ended it, the first one stands for it.
BeamPath ended_path(const Beams& beams, const BeamEnd& end, int number);
/// The best `num_return_sequences` of these, of equal ones the last first.
/// @source transformers 4.55.4 BeamSearchScorer.finalize.
GeneratedRow best_rows(const Beams& beams, std::vector<const BeamHypotheses::Entry*> entries);

}  // namespace genkit::generate

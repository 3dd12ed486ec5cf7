#pragma once

#include <optional>
#include <string>
#include <vector>

#include "genkit/generate/beams.h"
#include "genkit/generate/finished_beams.h"

namespace genkit::generate {

/// Beam search and beam sampling over one prompt.
/// @source transformers 5.23 _beam_search.
class BeamSearch : public Strategy {
 public:
  /// @param setup with num_beams, length_penalty, early_stopping and num_return_sequences resolved.
  /// @throws ArgumentError naming the option: more sequences than beams, more continuations than
  ///         there are.
  explicit BeamSearch(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override { return beams_.plan(cache); }
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return done_; }
  bool done() const override { return done_; }
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override { beams_.release(cache); }
  GeneratedRow take() override { return std::move(result_); }

 private:
  /// A continuation, and how it ends where it does.
  struct Candidate {
    Continuation next;
    std::optional<FinishReason> reason;
    std::string stop_string;
  };

  std::vector<Continuation> choose();
  Candidate judge(const Continuation& next) const;
  BeamPath extended(const Candidate& candidate) const;
  /// Puts those that ended among the finished. @return all in the order in which they may go on:
  /// num_beams do.
  std::vector<Candidate> sort_out(const std::vector<Continuation>& chosen);
  /// The best of what is finished become the result.
  void conclude(std::vector<StreamEvent>& events);

  Beams beams_;
  int num_beams_;
  int continuations_;  ///< that are looked at in each step
  FinishedBeams<BeamPath> finished_;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

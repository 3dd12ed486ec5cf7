#pragma once

#include <optional>
#include <vector>

#include "genkit/generate/beam_hypotheses.h"
#include "genkit/generate/beams.h"
#include "genkit/logits/forced_words.h"

namespace genkit::generate {

/// Beam search whose sequences hold the words of force_words_ids: besides the best continuations every step
/// considers the tokens that take a beam forward with its words, and divides the places among beams that
/// have come equally far. The prompt counts: a word that it holds is there already.
///
/// With force_words_strictly (the default) no sequence is returned without its words: where the search is
/// about to run out of tokens for them, beams that still have the time take the places of those that have
/// not. Without it sequences lack words where transformers' do.
/// @source transformers 4.55.4 _constrained_beam_search, ConstrainedBeamSearchScorer.
class ConstrainedBeamSearch : public Strategy {
 public:
  /// @throws ArgumentError naming force_words_ids: ids that cannot come, or more than there is room for.
  explicit ConstrainedBeamSearch(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override { return beams_.plan(cache); }
  /// @throws Error naming the row and force_words_ids where processors leave no way to the words.
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return done_; }
  bool done() const override { return done_; }
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override { beams_.release(cache); }
  GeneratedRow take() override { return std::move(result_); }

 private:
  /// A beam that may go on, and how far it would come with its words.
  struct Candidate {
    Continuation next;
    logits::WordProgress words;
  };
  Candidate candidate(const Continuation& next) const;
  /// The words' own continuations, without those that are among `known`.
  std::vector<Candidate> forward(const std::vector<Candidate>& known) const;
  /// So many candidates that the beams are as many as before, the furthest of each stage first.
  std::vector<Candidate> divide(std::vector<Candidate> candidates, size_t places) const;
  /// Puts beams that can still complete their words in the place of such that cannot, where too few are
  /// left that can. @param all that there are.
  void save(std::vector<Candidate>& chosen, std::vector<Candidate> all);
  /// Whether the words can be completed after this candidate's token.
  bool in_time(const Candidate& candidate) const;
  /// The best continuation of a beam that has its words: nothing else keeps it.
  std::optional<Candidate> onward(size_t place) const;
  /// The search is at its end: what runs becomes a result where it may.
  void end(const std::vector<Candidate>& running);
  void conclude(std::vector<StreamEvent>& events);

  Beams beams_;
  int num_beams_;
  int continuations_;
  bool strictly_;
  std::vector<logits::WordProgress> words_;  ///< of each beam
  BeamHypotheses ended_;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "genkit/generate/beam_choice.h"
#include "genkit/generate/cache_row.h"
#include "genkit/generate/finished_beams.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/stop_strings.h"
#include "genkit/generate/strategy.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// Beam search and beam sampling over one prompt. The prompt is run once; beams are forks of its
/// row of the cache, so that they share its pages and reordering them copies none.
/// @source transformers 5.23 _beam_search.
class BeamSearch : public Strategy {
 public:
  /// @param setup with num_beams, length_penalty, early_stopping and num_return_sequences resolved.
  /// @throws ArgumentError naming the option: more sequences than beams, more continuations than
  ///         there are.
  explicit BeamSearch(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return done_; }
  bool done() const override { return done_; }
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override { return std::move(result_); }

 private:
  /// What one beam saw at one step; beams that come from it share it.
  struct StepRecord {
    std::vector<float> scores, logits;
    std::vector<TokenLogprob> top;
  };
  /// What a beam has so far.
  struct Path {
    std::vector<int32_t> context;  ///< the prompt with its padding, then the new tokens
    std::vector<int32_t> beams;    ///< which beam each new token continued
    std::vector<float> logprobs;
    std::vector<std::shared_ptr<const StepRecord>> records;
    FinishReason reason = FinishReason::kCancelled;
    std::string stop_string;
  };
  struct Beam {
    Path path;
    float score = 0;
    CacheRow tokens;
    std::optional<CacheRow> unconditional;  ///< the other branch of classifier-free guidance
  };
  /// A continuation, and how it ends where it does.
  struct Candidate {
    Continuation next;
    std::optional<FinishReason> reason;
    std::string stop_string;
  };

  /// The beams' scores after the chain, and the sums that each token would bring them to.
  void score();
  std::shared_ptr<const StepRecord> record(size_t beam) const;
  std::vector<Continuation> choose();
  Candidate judge(const Continuation& next);
  Path extended(const Candidate& candidate) const;
  /// Puts those that ended among the finished. @return all in the order in which they may go on:
  /// num_beams do.
  std::vector<Candidate> sort_out(const std::vector<Continuation>& chosen);
  void go_on(cache::KvCache& cache, const std::vector<Candidate>& chosen);
  GeneratedRow to_row(const Path& path, float score) const;
  /// The best of what is finished become the result.
  void conclude(std::vector<StreamEvent>& events);
  /// The beam that a continuation continues; before the first token all are the prompt.
  size_t parent(int beam) const { return std::min(static_cast<size_t>(beam), beams_.size() - 1); }
  int new_tokens() const {
    return static_cast<int>(beams_.front().path.context.size() - setup_.prompt.ids.size());
  }

  RowSetup setup_;
  int num_beams_;
  int continuations_;  ///< that are looked at in each step
  logits::Chain chain_;
  std::optional<StopStringMatcher> stop_strings_;
  std::chrono::steady_clock::time_point start_;
  std::vector<Beam> beams_;                     ///< one before the first token, then num_beams
  std::vector<std::vector<float>> scores_;      ///< one a beam; the memory is kept
  std::vector<std::span<const float>> logits_;  ///< one a beam, of the step that is going on
  std::vector<std::span<const float>> unconditional_logits_;
  std::vector<double> norms_;                               ///< log-sum-exp of each beam's logits
  std::vector<std::shared_ptr<const StepRecord>> records_;  ///< one a beam; null where none is asked for
  FinishedBeams<Path> finished_;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

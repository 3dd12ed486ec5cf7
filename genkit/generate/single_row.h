#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/drafter.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/stop_strings.h"
#include "genkit/generate/strategy.h"
#include "genkit/generate/text_output.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// Greedy decoding and sampling, from one row of the cache. Where something drafts, a feed holds the draft
/// too, and every token is chosen as it would be without one, until a guess was wrong: so all that a
/// token has to do with (processors, stops, scores, random numbers) is the same.
class SingleRow : public Strategy {
 public:
  explicit SingleRow(RowSetup setup);

  Drafter* begin_draft() override;
  std::vector<Feed> plan(cache::KvCache& cache) override;
  bool has_more() const override { return has_more_; }
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return finished_; }
  bool done() const override { return done_; }
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override { return std::move(result_); }

 private:
  /// Runs choose(), and says in which row and step it failed.
  template <class Choose>
  int32_t named(Choose choose) const;
  int32_t choose(std::span<const FeedOutput> outputs);
  /// The id, by scores that the chain has been over.
  int32_t draw(logits::Scores& scores);
  void add(int32_t id, std::span<const float> logits, std::vector<StreamEvent>& events);
  void record(int32_t id, std::span<const float> logits);
  std::optional<FinishReason> stop_reason(int32_t id);
  void finish(FinishReason reason, StreamEvent& event);

  RowSetup setup_;
  logits::Chain chain_;
  std::optional<StopStringMatcher> stop_strings_;
  std::optional<TextOutput> text_;
  std::chrono::steady_clock::time_point start_;
  std::vector<int32_t> context_;  ///< the prompt with its padding, then the new tokens
  CacheRow tokens_;
  std::optional<CacheRow> unconditional_;  ///< the other branch of classifier-free guidance
  std::vector<float> scores_;              ///< of the last step, processed
  std::unique_ptr<Drafter> drafter_;       ///< null: one token a pass
  std::vector<int32_t> draft_;             ///< that the last feed held
  size_t place_ = 0;                       ///< of the next token in the last feed's logits
  bool has_more_ = false;
  bool finished_ = false;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

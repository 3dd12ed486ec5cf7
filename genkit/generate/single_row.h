#pragma once

#include <memory>
#include <optional>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/drafter.h"
#include "genkit/generate/row_output.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/strategy.h"
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
  /// Takes over what another row of the same prompt holds in the cache, in place of feeding the prompt.
  void begin_as(const SingleRow& other, cache::KvCache& cache);
  bool finished() const override { return output_.finished(); }
  bool done() const override { return output_.done(); }
  void cancel(std::vector<StreamEvent>& events) override { output_.cancel(events); }
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override { return output_.take(); }

 private:
  /// Runs choose(), and says in which row and step it failed.
  template <class Choose>
  int32_t named(Choose choose) const;
  /// @param unconditional of the other branch of guidance, where there is one.
  int32_t choose(std::span<const float> logits, std::span<const float> unconditional);
  /// The id, by scores that the chain has been over.
  int32_t draw(logits::Scores& scores);

  RowSetup setup_;
  logits::Chain chain_;
  RowOutput output_;
  CacheRow tokens_;
  std::optional<CacheRow> unconditional_;  ///< the other branch of classifier-free guidance
  std::vector<float> scores_;              ///< of the last step, processed
  std::unique_ptr<Drafter> drafter_;       ///< null: one token a pass
  std::vector<int32_t> draft_;             ///< that the last feed held
  size_t place_ = 0;                       ///< of the next token in the last feed's logits
  bool has_more_ = false;
};

}  // namespace genkit::generate

#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/stop_strings.h"
#include "genkit/generate/strategy.h"
#include "genkit/generate/text_output.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// Greedy decoding and sampling: one token a step, from one row of the cache.
class SingleRow : public Strategy {
 public:
  explicit SingleRow(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
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
  bool finished_ = false;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

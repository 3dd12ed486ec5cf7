#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/prompt.h"
#include "genkit/generate/stop_strings.h"
#include "genkit/generate/strategy.h"
#include "genkit/generate/text_output.h"
#include "genkit/logits/chain.h"
#include "genkit/logits/random.h"

namespace genkit::generate {

/// What a row is made from.
struct RowSetup {
  size_t row = 0;  ///< its number in events
  PreparedPrompt prompt;
  EffectiveConfig config;
  logits::DrawKey key;  ///< seed and row; the step is counted here
  int vocab_size = 0;
  std::optional<int> cache_border;  ///< @see models::Model::cache_border
  const text::Tokenizer* tokenizer = nullptr;
  bool skip_special_tokens = true;
  bool overrun = false;
  std::span<const logits::UserProcessor> user_processors = {};
  logits::PrefixAllowed prefix_allowed;
  std::vector<int32_t> negative_prompt;  ///< of classifier-free guidance
};

/// Greedy decoding and sampling: one token a step, from one row of the cache.
class SingleRow : public Strategy {
 public:
  explicit SingleRow(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
  void advance(cache::KvCache& cache, std::span<const std::span<const float>> logits,
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
  int32_t choose(std::span<const std::span<const float>> logits);
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

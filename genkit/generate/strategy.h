#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/generate.h"

namespace genkit::generate {

/// Tokens that a strategy wants the model to run for one slot of the cache, after what it holds.
struct Feed {
  int slot = -1;
  std::vector<int32_t> tokens;
  int rope_length = 0;  ///< @see models::RowSpan
};

/// One prompt on its way to its results: says what to run next, and turns the logits that come back
/// into tokens. Greedy decoding and sampling have one row of the cache; strategies with several
/// branches fork it. Strategies know nothing of each other, so prompts in different modes run in
/// one batch.
class Strategy {
 public:
  virtual ~Strategy() = default;
  /// What to run next; the prompt at first. Called only when the feeds before have been run.
  virtual std::vector<Feed> plan(cache::KvCache& cache) = 0;
  /// @param logits of each feed's last token, [vocab] float32, in the order of plan().
  /// @param events what has become final, appended.
  virtual void advance(cache::KvCache& cache, std::span<const std::span<const float>> logits,
                       std::vector<StreamEvent>& events) = 0;
  /// The results are decided.
  virtual bool finished() const = 0;
  /// There is nothing left to run; later than finished() where rows run on (@see GenerationRequest).
  virtual bool done() const = 0;
  /// Ends what is not finished, with what there is.
  virtual void cancel(std::vector<StreamEvent>& events) = 0;
  /// Gives back the slots of the cache. Called once, after done() or cancel(), or to end a run-on.
  virtual void release(cache::KvCache& cache) = 0;
  virtual GeneratedRow take() = 0;
};

}  // namespace genkit::generate

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/generate.h"
#include "genkit/models/model.h"

namespace genkit::generate {

/// A place of the forward pass whose states a strategy wants to see.
struct Capture {
  models::Site site = models::Site::kFinal;
  int layer = 0;  ///< the block, for Site::kBlock
};

/// Tokens that a strategy wants the model to run for one slot of the cache, after what it holds.
struct Feed {
  static constexpr int kAllTokens = -1;

  int slot = -1;
  std::vector<int32_t> tokens;
  int rope_length = 0;    ///< @see models::RowSpan
  int prompt_length = 0;  ///< tokens of the row that are its prompt, for hooks
  /// The row's tokens from position 0 to the last of `tokens`, for hooks that go by tokens; kept by
  /// the strategy until advance(). Empty: such hooks are refused.
  std::span<const int32_t> row_tokens = {};
  bool has_prefix = true;  ///< @see models::RowSpan
  /// Of how many of the last tokens logits are wanted; kAllTokens: of every one.
  int logits = 1;
  /// States that are wanted of every token.
  std::vector<Capture> captures = {};
};

/// What the model made of a feed, whatever number of passes that took.
class FeedOutput {
 public:
  FeedOutput() = default;
  FeedOutput(FeedOutput&&) = default;  // a copy would look into the other's memory
  FeedOutput& operator=(FeedOutput&&) = default;

  size_t count() const { return vocab_ ? view_.size() / vocab_ : 0; }  ///< of tokens with logits
  /// [vocab] float32, of the i-th token of those that were asked for.
  std::span<const float> logits(size_t i) const { return view_.subspan(i * vocab_, vocab_); }
  std::span<const float> last_logits() const { return logits(count() - 1); }
  /// [tokens of the feed, hidden] float32, of the i-th capture.
  std::span<const float> states(size_t i) const { return states_[i]; }

  void begin(size_t captures);  ///< empty again; the memory is kept
  /// @param owner what `values` lie in; kept, so that the logits of a single pass are not copied.
  void add_logits(std::span<const float> values, size_t vocab, const mlx::core::array& owner);
  void add_states(size_t capture, std::span<const float> values);

 private:
  size_t vocab_ = 0;
  std::span<const float> view_;  ///< in owner_, or in values_ where several passes gave them
  std::optional<mlx::core::array> owner_;
  std::vector<float> values_;
  std::vector<std::vector<float>> states_;
};

class Drafter;

/// One prompt on its way to its results: says what to run next, and turns the logits that come back
/// into tokens. Greedy decoding and sampling have one row of the cache; strategies with several
/// branches fork it. Strategies know nothing of each other, so prompts in different modes run in
/// one batch.
class Strategy {
 public:
  virtual ~Strategy() = default;
  /// What to run next; the prompt at first. Called only when the feeds before have been run.
  virtual std::vector<Feed> plan(cache::KvCache& cache) = 0;
  /// What guesses this row's next tokens, its draft begun; null where nothing does. Called before plan(),
  /// so that a draft model can run for all rows at once.
  virtual Drafter* begin_draft() { return nullptr; }
  /// The outputs of the last feeds hold a further token: advance() is called with them once more, before
  /// anything else is fed.
  virtual bool has_more() const { return false; }
  /// @param outputs one a feed, in the order of plan().
  /// @param events what has become final, appended.
  virtual void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
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

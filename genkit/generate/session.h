#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/cache_row.h"
#include "genkit/generate/draft_passes.h"
#include "genkit/generate/generate.h"
#include "genkit/generate/pass_cost.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/strategy.h"

namespace genkit::models {
class HiddenCapture;
}

namespace genkit::generate {

struct SessionOptions {
  GenerationConfig model_defaults;
  std::vector<models::ForwardHook*> hooks;
  std::vector<logits::UserProcessor> processors;
  logits::PrefixAllowed prefix_allowed_tokens_fn;
  ChooseContinuations choose_continuations;
  const models::Model* assistant_model = nullptr;  ///< must outlive the session
  ProposeTokens propose_tokens;
  Clock clock = std::chrono::steady_clock::now;
  int prefill_chunk = 512;
  bool skip_special_tokens = true;
  bool overrun = false;
  /// Rows that have their prompt go on while others are still being fed theirs. Off, a batch's
  /// prompts come first, which is faster as a whole; on, a server's rows do not wait for newcomers.
  bool decode_during_prefill = false;
  /// What earlier rows have left, for rows that begin as they did; the session's own rows are added.
  /// Null: rows of the session share among themselves what their prompts have in common.
  std::shared_ptr<PrefixStore> prefixes = {};
};

/// Rows that come and go over one cache. A batch adds them all and steps until none is left; a
/// server adds and cancels between steps. Not thread-safe.
///
///   GenerationSession session(model, &tokenizer, {});
///   size_t row = session.add({.ids = ids}, config);
///   while (session.step()) print(session.events());
///   GeneratedRow result = session.take(row);
class GenerationSession {
 public:
  /// @param model, tokenizer must outlive the session; tokenizer may be null.
  GenerationSession(const models::Model& model, const text::Tokenizer* tokenizer, SessionOptions options);
  ~GenerationSession();

  /// Takes a prompt in. Nothing is computed before step().
  /// @return the row's number, counted from 0, in events and in the sampling key.
  /// @throws ArgumentError for options and prompts, and leaves the session as it was.
  size_t add(const Prompt& prompt, const GenerationConfig& config);
  /// Throws what add() would throw were this the prompt of that number.
  void check(const Prompt& prompt, const GenerationConfig& config, size_t number);
  /// One forward pass, and what follows from it. @return whether rows are left to run.
  /// @throws Error naming the row where no token can be chosen; the session is of no use after that.
  bool step();
  /// What became final in the last step() or cancel(), in the order of the rows.
  const std::vector<StreamEvent>& events() const { return events_; }
  /// Ends a row with what it has; nothing happens to one that has ended.
  void cancel(size_t row);
  void cancel_all();
  /// The result of a row that has ended. Once. @throws ArgumentError for another row.
  GeneratedRow take(size_t row);

  bool active() const;
  size_t running() const;                                  ///< rows that have not ended
  bool ended(size_t row) const;                            ///< whether there is a result to take
  size_t prompt_tokens() const { return prompt_tokens_; }  ///< of all rows, without padding
  size_t prompt_tokens_done() const { return prompt_tokens_done_; }
  /// Of those done, how many were not computed, as another row had their keys and values.
  size_t reused_tokens() const { return reused_tokens_; }
  const cache::KvCache& cache() const { return cache_; }
  const cache::KvCache* draft_cache() const { return draft_ ? &draft_->cache : nullptr; }

 private:
  struct Row;
  struct Piece;
  /// Who guesses for a new row, and what the caches keep for wrong guesses.
  void prepare_drafts(RowSetup& setup);
  /// Asks the rows that have nothing left to run what is next.
  void plan();
  /// A row of its own, not yet among the others.
  std::unique_ptr<Row> make_row(const Prompt& prompt, const GenerationConfig& config, size_t number);
  std::vector<Piece> next_pass();
  /// Rows whose feeds have been run choose their next tokens, one each. @return whether there were any.
  bool advance();
  void run(const std::vector<Piece>& pieces);
  /// Gives each feed its part of what a pass brought. @param logits null where none is wanted.
  void hand_out(const std::vector<Piece>& pieces, const models::ForwardInput& input,
                const models::HiddenCapture& capture, const mlx::core::array* logits);
  void retire();
  /// How a row of this configuration keeps its keys and values.
  CacheSettings cache_settings(const EffectiveConfig& config);
  /// Finds the row whose prompt begins as this one's does and is still to be computed.
  void find_donor(Row& row);
  /// Whether a row is to wait until another has computed what both begin with.
  bool waits(Row& row);
  /// Asks a row what is next.
  void plan(Row& row);
  /// Of `count` tokens of the prompt, those up to where the next waiting row leaves this one.
  size_t up_to_fork(const Row& row, size_t count) const;
  /// Puts aside what waiting rows begin with, as soon as it is there.
  void hand_over(const std::vector<Piece>& pieces);

  const models::Model& model_;
  const text::Tokenizer* tokenizer_;
  SessionOptions options_;
  uint64_t fallback_seed_;
  cache::KvCache cache_;
  std::optional<DraftModel> draft_;
  int slack_ = 0;             ///< of both caches: the longest draft of any row
  bool catching_up_ = false;  ///< the draft model has prompts left to run
  std::shared_ptr<PassCost> pass_cost_ = std::make_shared<PassCost>();
  std::map<size_t, std::unique_ptr<Row>> rows_;  ///< by number, until taken
  size_t next_number_ = 0;
  std::vector<StreamEvent> events_;
  size_t prompt_tokens_ = 0;
  size_t prompt_tokens_done_ = 0;
  size_t reused_tokens_ = 0;
  std::shared_ptr<PrefixStore> prefixes_;
};

}  // namespace genkit::generate

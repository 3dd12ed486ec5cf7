#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "genkit/generate/beam_choice.h"
#include "genkit/generate/cache_row.h"
#include "genkit/generate/draft_passes.h"
#include "genkit/generate/generate.h"
#include "genkit/generate/pass_cost.h"
#include "genkit/generate/prompt.h"
#include "genkit/logits/chain.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/random.h"

namespace genkit::generate {

/// What a strategy for one prompt is made from.
struct RowSetup {
  size_t row = 0;       ///< its number in events
  size_t sequence = 0;  ///< @see StreamEvent
  const models::Model* model = nullptr;
  PreparedPrompt prompt;
  EffectiveConfig config;
  logits::DrawKey key;  ///< seed and row
  int vocab_size = 0;
  CacheSettings cache;
  const text::Tokenizer* tokenizer = nullptr;
  bool skip_special_tokens = true;
  bool overrun = false;
  std::span<const logits::UserProcessor> user_processors = {};
  logits::PrefixAllowed prefix_allowed;
  std::vector<int32_t> negative_prompt;      ///< of classifier-free guidance
  ChooseContinuations choose_continuations;  ///< @see GenerationRequest
  DraftModel* draft = nullptr;               ///< of assisted modes; outlives the row
  std::shared_ptr<const PassCost> pass_cost = std::make_shared<PassCost>();
  ProposeTokens propose_tokens;  ///< @see GenerationRequest
  Clock clock = std::chrono::steady_clock::now;

  /// The processors of the row, in their order: every strategy takes its chain from here, so that each
  /// option and each callback reaches all of them.
  /// @param min_tokens_to_keep of warpers: with sampling beams the number of EOS ids + 1.
  logits::Chain chain(int min_tokens_to_keep = 1) const;
  /// What the next token of this row is drawn with. @param ids that it has so far, padding included.
  logits::DrawKey key_after(size_t ids) const;
  /// A token's text, from the tokenizer; null without one.
  logits::TokenBytes token_bytes() const;
};

}  // namespace genkit::generate

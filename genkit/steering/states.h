#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/models/model.h"

namespace genkit::steering {

/// Tokens to run through a model, and from where on they are looked at.
struct TokenSequence {
  std::vector<int32_t> ids;
  /// First token of the response, or of the text after special tokens: a BOS token's states are
  /// often a hundred times longer than all others and would drown them in a mean.
  int begin = 0;
  std::string where;  ///< for messages: "pairs.jsonl: line 3: positive"
};

/// Which tokens' states stand for a sequence; of several, their mean.
struct TokenChoice {
  enum class Kind : uint8_t { kLast, kMean, kTokens };
  Kind kind = Kind::kLast;
  std::vector<int> tokens = {};  ///< of kTokens: from TokenSequence::begin on, negative from the end

  /// "last", "mean", "tokens:0,1,-1". @throws ArgumentError naming `option`.
  static TokenChoice parse(std::string_view text, const std::string& option);
  std::string text() const;
  /// Their indices in sequence.ids. @throws ArgumentError naming sequence.where for an empty
  /// sequence or response, and for a token that it does not have.
  std::vector<int> in(const TokenSequence& sequence) const;
};

struct VisitOptions {
  std::vector<int> blocks;                  ///< from 0, rising
  std::vector<models::ForwardHook*> hooks;  ///< that act while the states are taken, before they are
  int tokens_per_pass = 1024;               ///< several sequences at a time, packed, as far as they fit
  /// Called after every pass with (sequences done, sequences in all); false ends the visit.
  std::function<bool(size_t, size_t)> progress;
};

/// Runs every sequence through the model, several packed into one pass without padding, and shows the
/// outputs of the chosen blocks, in the order of the sequences and then of the blocks.
/// @param visit (index of the sequence, block, states [its tokens, hidden] float32, row after row).
/// @return false where progress() ended it.
/// @throws ArgumentError for an empty sequence and for a block that the model does not have.
bool visit_states(const models::Model& model, const std::vector<TokenSequence>& sequences,
                  const VisitOptions& options,
                  const std::function<void(size_t, int, std::span<const float>)>& visit);

/// One point a sequence and block.
struct PooledStates {
  std::map<int, std::vector<float>> points;  ///< by block: [sequences, hidden]
  std::map<int, std::vector<double>>
      lengths;  ///< by block: [sequences], mean length of the chosen tokens' states
};
/// @throws as visit_states() and TokenChoice::in(); Error where progress() ended it.
PooledStates pooled_states(const models::Model& model, const std::vector<TokenSequence>& sequences,
                           const TokenChoice& choice, const VisitOptions& options);

/// Blocks 0 to n - 1.
std::vector<int> all_blocks(const models::Model& model);

}  // namespace genkit::steering

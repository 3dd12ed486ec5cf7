#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// The log-probabilities of a prompt's own tokens. The prompt is fed in pieces, since every token's logits
/// are looked at and a vocabulary of them is a megabyte.
class PromptScores {
 public:
  static constexpr size_t kPiece = 64;  ///< tokens

  /// @param tokens of the prompt, without padding. @param top how many of the best are wanted at each place.
  PromptScores(std::vector<int32_t> tokens, int top);

  /// Where the next piece ends.
  size_t end() const { return std::min(done_ + kPiece, tokens_.size()); }
  /// How many of the piece's tokens need logits.
  int wanted() const { return static_cast<int>(end() - done_); }
  bool last_piece() const { return end() == tokens_.size(); }
  /// @param output the piece's, with the logits of wanted() tokens.
  void add(const FeedOutput& output);
  void give_to(GeneratedRow& row);

 private:
  std::vector<int32_t> tokens_;
  int top_;
  size_t done_ = 0;
  std::vector<float> logprobs_;
  std::vector<std::vector<TokenLogprob>> best_;
};

/// The natural logarithm of each of the n best ids' probability, best first.
/// @param norm log-sum-exp of the logits.
std::vector<TokenLogprob> best_logprobs(std::span<const float> logits, double norm, int n);

}  // namespace genkit::generate

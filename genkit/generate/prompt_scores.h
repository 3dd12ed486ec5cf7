#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// The log-probabilities of a prompt's own tokens, which are the same in every mode: the session asks for
/// the logits of all of the prompt and feeds it in pieces, since a vocabulary of them is a megabyte.
class PromptScores {
 public:
  static constexpr size_t kPiece = 64;  ///< tokens

  /// @param tokens of the prompt, without padding. @param virtual_tokens of them are placeholders in front,
  ///        which have no scores. @param top how many of the best are wanted at each place.
  PromptScores(std::vector<int32_t> tokens, int virtual_tokens, int top);

  /// @param logits [tokens of the piece, vocab], of the next ones of the prompt.
  void add(std::span<const float> logits, size_t vocab);
  /// Nothing where the prompt has not been fed to its end.
  void give_to(GeneratedRow& row);

 private:
  std::vector<int32_t> tokens_;
  size_t first_;  ///< that has a score of its own, or would have one if anything preceded it
  int top_;
  size_t done_ = 0;
  std::vector<float> logprobs_;
  std::vector<std::vector<TokenLogprob>> best_;
};

/// The natural logarithm of each of the n best ids' probability, best first.
/// @param norm log-sum-exp of the logits.
std::vector<TokenLogprob> best_logprobs(std::span<const float> logits, double norm, int n);

}  // namespace genkit::generate

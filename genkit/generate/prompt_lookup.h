#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "genkit/generate/drafter.h"
#include "genkit/generate/pass_cost.h"

namespace genkit::generate {

/// An earlier place of a row that reads like its end.
struct Occurrence {
  size_t next = 0;    ///< index of the token that followed there
  int agreement = 0;  ///< how many tokens before it are those at the row's end; 0: there is none
};

/// The occurrence that agrees longest with the row's end, of those the last. Agreement is looked at up
/// to `longest` tokens, and counted up to kAgreementCounted.
Occurrence find_occurrence(std::span<const int32_t> ids, int longest);
constexpr int kAgreementCounted = 32;

/// Drafts what followed when the row's last tokens stood in it before. How much of it depends on how
/// often such guesses have come true in this row, by the length of the agreement, and on what a token
/// more costs: guesses are made, and held against what is chosen, at every token, since that costs
/// nothing; they are run only where they are likely to pay. So a text that does not repeat itself is
/// not slowed down, and one that begins to is noticed.
/// @source the idea: Saxena 2023, "Prompt lookup decoding"; transformers 5.23
///         PromptLookupCandidateGenerator, which drafts a fixed number after the first occurrence.
class PromptLookup : public Drafter {
 public:
  /// @param num_tokens that a draft has at most: `prompt_lookup_num_tokens`
  /// @param longest    `max_matching_ngram_size`
  PromptLookup(int num_tokens, int longest, std::shared_ptr<const PassCost> cost);

  void begin(std::span<const int32_t> context, int most) override;

 private:
  /// How often guesses at one length of agreement came true; older ones count less and less.
  struct Record {
    double right, made;
  };
  static size_t bucket(int agreement);
  double chance(int agreement) const;
  void learn(std::span<const int32_t> context);

  int num_tokens_, longest_;
  std::shared_ptr<const PassCost> cost_;
  std::array<Record, 8> records_;
  std::vector<int32_t> guess_;  ///< what may follow context_size_
  size_t context_size_ = 0;
  int agreement_ = 0;  ///< at the guess's first token
};

/// Drafts what the caller proposes, all of it.
class CallerDrafter : public Drafter {
 public:
  CallerDrafter(ProposeTokens propose, size_t row, int vocab_size)
      : propose_(std::move(propose)), row_(row), vocab_size_(vocab_size) {}
  /// @throws ArgumentError naming `propose_tokens` for an id outside the vocabulary.
  void begin(std::span<const int32_t> context, int most) override;

 private:
  ProposeTokens propose_;
  size_t row_;
  int vocab_size_;
};

}  // namespace genkit::generate

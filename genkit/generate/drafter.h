#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// Guesses what follows one row. Guesses decide how many tokens a forward pass yields, never which:
/// the row chooses every token itself, and goes on with those that were guessed right.
class Drafter {
 public:
  virtual ~Drafter() = default;

  /// Begins a draft. What has been chosen since the last one tells what became of that.
  /// @param context the row's prompt, padding included, and its new tokens
  /// @param most    tokens that a draft may have; 0: none, though the drafter may learn
  virtual void begin(std::span<const int32_t> context, int most) = 0;
  /// What the draft model is to run next for this draft; nothing: the draft is complete.
  virtual std::optional<Feed> feed() { return {}; }
  /// @param logits of the feed's last token.
  virtual void advance(std::span<const float> /*logits*/) {}
  /// Gives back what is held for the row outside of it.
  virtual void release() {}

  const std::vector<int32_t>& tokens() const { return tokens_; }
  /// The processed scores [vocab] that a token was drawn from; empty where it was not drawn, but is
  /// the drafter's only guess.
  virtual std::span<float> scores(size_t /*place*/) { return {}; }

 protected:
  std::vector<int32_t> tokens_;
};

}  // namespace genkit::generate

#pragma once

#include <optional>

#include "genkit/config/generation_config.h"

namespace genkit::generate {

/// How many tokens the next draft of a model may have, by what became of those before. Depends on the
/// row alone, never on the clock: with sampling, where drafts end decides which numbers are drawn.
/// @source the heuristic: transformers 5.23 AssistedCandidateGenerator.update_candidate_strategy.
class DraftLength {
 public:
  /// @param config    with num_assistant_tokens and num_assistant_tokens_schedule
  /// @param draft_cost what a token costs the draft model, in units of the model's own
  DraftLength(const config::GenerationConfig& config, double draft_cost);

  /// Of the next draft.
  int next();
  /// That it can ever be.
  int longest() const;
  /// @param accepted of the `drafted` tokens; drafted above 0.
  void settle(int drafted, int accepted);

 private:
  int best() const;

  bool automatic_ = false, heuristic_ = false;
  int length_ = 0;
  double token_cost_;
  // Of drafted tokens, how many came true; older ones count less and less.
  double right_, made_;
  int waiting_ = 0, wait_ = 0;  ///< steps until a draft is tried again although it would not pay
};

}  // namespace genkit::generate

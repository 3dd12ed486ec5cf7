#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/steering/schedule.h"

namespace genkit::steering {

/// Which tokens of a row a hook acts on. The prompt ends where generation begins
/// (models::RowSpan::prompt_length); in a forward pass outside of generation all of a span is prompt.
struct Positions {
  bool prompt = true;     ///< those of the prompt
  int last = 0;           ///< of the prompt only the last so many; 0: all
  bool generated = true;  ///< those generated, from the first one that is fed back
  /// Only what comes after the first token of this id in the row.
  std::optional<int32_t> after_token = {};

  static Positions all() { return {}; }
  static Positions prompt_only() { return {.generated = false}; }
  static Positions generated_only() { return {.prompt = false}; }
  /// The last k of the prompt and all that is generated. With k = 1 every token that is generated is
  /// chosen by a steered position, and nothing else is steered.
  static Positions last_and_generated(int k);
  static Positions after(int32_t token) { return {.after_token = token}; }

  /// "all", "prompt", "generated", "last:K" (with what is generated), "prompt-last:K", "after:ID".
  /// @throws ArgumentError naming `option`.
  static Positions parse(std::string_view text, const std::string& option);
};

/// The schedule's coefficient for every token of a pass that the hook acts on, 0 for the others.
/// @param rows of which rows (models::RowSpan::row); nothing: of all.
/// @throws ArgumentError where `after_token` is set and a span does not bring its row's tokens.
std::vector<float> coefficients(const Schedule& schedule, const Positions& positions,
                                const std::optional<std::set<int64_t>>& rows,
                                const models::ForwardInput& input);

/// How many of a row's first positions have no coefficient, as far as it is known without the tokens.
int first_steered(const Schedule& schedule, const Positions& positions,
                  const std::optional<std::set<int64_t>>& rows, int64_t row, int prompt_length);

/// The index in the pass of every token whose logits it computes, in their order.
std::vector<int> tokens_with_logits(const models::ForwardInput& input);

}  // namespace genkit::steering

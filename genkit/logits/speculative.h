#pragma once

#include <cstdint>
#include <span>

#include "genkit/logits/random.h"
#include "genkit/logits/scores.h"

/// The rule by which drawn drafts keep the model's own distribution.
/// @source Leviathan et al. 2023, "Fast inference from transformers via speculative decoding",
///         algorithm 1; transformers 5.23 _speculative_sampling.
namespace genkit::logits {

/// Which of a step's random numbers is whose: plain sampling takes the first, so that a token which no
/// draft foresaw is drawn as it would be without a draft model.
constexpr uint16_t kAcceptDraw = 1;    ///< decides about a drafted token
constexpr uint16_t kResidualDraw = 2;  ///< chooses in the place of a rejected one
constexpr uint16_t kDraftDraw = 3;     ///< the draft model's own

/// softmax(target)[id] / softmax(draft)[id]: a drafted id is accepted with this probability, 1 at
/// most. 0 where the target has removed the id.
/// @param target, draft processed scores of the same step, [vocab]
double acceptance(const Scores& target, const Scores& draft, int32_t id);

/// Turns `target` into the logarithms of max(softmax(target) - softmax(draft), 0), normalised: what a
/// token is drawn from in the place of a rejected one. Where rounding leaves nothing of the
/// difference, `target` stays as it is.
void leave_residual(Scores& target, const Scores& draft);

/// Decides about a drafted id. @return it, or the one that is drawn in its place; `target` is then
/// the residual.
/// @throws Error as sample() does, for scores that leave nothing to draw from.
int32_t verify(Scores& target, const Scores& draft, int32_t id, const DrawKey& key);

}  // namespace genkit::logits

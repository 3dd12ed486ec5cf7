#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/steering/states.h"
#include "genkit/text/tokenizer.h"

// What a text, or a model under steering, scores.

namespace genkit::steering {

/// Where one sequence stands along a direction.
struct Projection {
  std::vector<float> tokens;   ///< one a token: x.u, with u = v / |v|, in the units of the stream
  std::vector<float> cosines;  ///< one a token: x.u / |x|
  /// Means over the tokens from TokenSequence::begin on; NaN where there are none.
  double mean = 0, mean_cosine = 0;
};

/// Projections of the outputs of one block on a direction [hidden] of any length but 0.
/// @param options its `blocks` are not looked at.
/// @throws ArgumentError for a direction of another size or of length 0, and as visit_states();
///         Error "interrupted".
std::vector<Projection> project(const models::Model& model, const std::vector<TokenSequence>& sequences,
                                int block, const std::vector<float>& direction, VisitOptions options = {});

/// Two lists of words as ids of tokens.
struct WordLists {
  std::vector<int32_t> positive, negative;  ///< rising, no id in both
  bool empty() const { return positive.empty() || negative.empty(); }
};
/// The tokens that are the words: with and without a space before them, as written and with a capital
/// first letter; only forms that are a single token count.
/// @throws ArgumentError naming the word of which no form is one, or a token that is in both lists.
WordLists word_lists(const text::Tokenizer& tokenizer, const std::vector<std::string>& positive,
                     const std::vector<std::string>& negative);
/// log(sum of the positive words' probabilities) - log(sum of the negative words').
double log_odds(std::span<const float> logits, const WordLists& words);

/// Natural-log probabilities of the token after each prompt, [vocab] each.
/// @param hooks that act; the prompts are rows 0, 1, ... to them.
/// @param see called with (prompt's index, log-probabilities) in order.
void next_token_logprobs(const models::Model& model, const std::vector<std::vector<int32_t>>& prompts,
                         const std::vector<models::ForwardHook*>& hooks,
                         const std::function<void(size_t, std::span<const float>)>& see);

/// sum p (log p - log q), in nats, of two distributions given by their log-probabilities.
double kl_divergence(std::span<const float> logp, std::span<const float> logq);

/// A sum of -log p over the tokens from TokenSequence::begin on, and their number.
struct Surprise {
  double nats = 0;
  size_t tokens = 0;
};
/// What the model without hooks makes of each sequence. A sequence with nothing after `begin`, or with
/// begin 0, whose first token has nothing before it, counts what is left.
std::vector<Surprise> surprise(const models::Model& model, const std::vector<TokenSequence>& sequences);
/// exp(nats per token) of all together; NaN where there are no tokens.
double perplexity(std::span<const Surprise> rows);

/// Distinct n-grams over all n-grams of the rows together, in [0, 1]; NaN where there are none.
/// @source Li et al. 2016, "A Diversity-Promoting Objective Function".
double distinct_n(const std::vector<std::vector<int32_t>>& rows, size_t n);

}  // namespace genkit::steering

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "genkit/config/generation_config.h"
#include "genkit/logits/scores.h"

namespace genkit::logits {

/// Changes one row's scores before the next token is chosen. Holds what does not change from step
/// to step; everything else comes with the context.
class Processor {
 public:
  virtual ~Processor() = default;
  /// The class of transformers that does this.
  virtual std::string_view name() const = 0;
  /// @param scores [vocab] float32, changed in place.
  virtual void apply(const Context& context, Scores& scores) const = 0;
  /// The same for all beams of one prompt, which few processors look at together.
  virtual void apply_to_beams(std::span<const Context> contexts, std::span<Scores> scores) const {
    for (size_t i = 0; i < contexts.size(); ++i) apply(contexts[i], scores[i]);
  }
};
using ProcessorPtr = std::unique_ptr<Processor>;

/// A caller's own processor: sees the row's ids and changes its scores [vocab].
using UserProcessor = std::function<void(std::span<const int32_t> ids, std::span<float> scores)>;

/// The ids that may come next in a row, by what it has so far.
using PrefixAllowed = std::function<std::vector<int32_t>(size_t row, std::span<const int32_t> ids)>;

/// Classifier-free guidance, before every processor: both branches as log-probabilities, then
/// scale * (scores - unconditional) + unconditional.
/// @param scores [vocab] raw logits, changed in place; unconditional [vocab] of the other branch.
/// @source UnbatchedClassifierFreeGuidanceLogitsProcessor
void guide(std::span<float> scores, std::span<const float> unconditional, double scale);

// Constructors, by family. Each throws ArgumentError naming its option for a value it cannot have.
// `vocab` is the number of scores; ids outside it are an error where they would be written to.

// biases.cpp
ProcessorPtr sequence_bias(const std::vector<config::SequenceBias>& entries, int vocab);
/// @param eos ids that a one-token bad word may not ban. @source NoBadWordsLogitsProcessor
ProcessorPtr bad_words(const std::vector<std::vector<int32_t>>& words, const std::vector<int32_t>& eos,
                       int vocab);
ProcessorPtr suppress_tokens(std::vector<int32_t> ids);
/// @param length that the context must have.
ProcessorPtr suppress_tokens_at(std::vector<int32_t> ids, int length);

// repetition.cpp
/// Penalises every id of the context once: score * penalty below zero, score / penalty above.
/// @param ignored leading positions that do not count (left padding).
/// @source Keskar et al. 2019, section 4.1; RepetitionPenaltyLogitsProcessor
ProcessorPtr repetition_penalty(double penalty, int ignored);
/// The reverse for ids of the prompt. @source EncoderRepetitionPenaltyLogitsProcessor
ProcessorPtr encoder_repetition_penalty(double penalty, std::span<const int32_t> prompt);
ProcessorPtr no_repeat_ngram(int size);
/// Takes `penalty` from an id for each time that it is in Context::others.
/// @source Vijayakumar et al. 2016, equation 2; transformers 4.55.4 HammingDiversityLogitsProcessor
ProcessorPtr diversity(double penalty);
ProcessorPtr encoder_no_repeat_ngram(int size, std::span<const int32_t> prompt);

// lengths.cpp
ProcessorPtr min_length(int length, std::vector<int32_t> eos);
ProcessorPtr min_new_tokens(int count, int prompt_length, std::vector<int32_t> eos);
ProcessorPtr forced_bos(int32_t id, int vocab);
ProcessorPtr forced_eos(std::vector<int32_t> ids, int max_length, int vocab);
ProcessorPtr exponential_decay(const config::LengthDecay& decay, int prompt_length, std::vector<int32_t> eos,
                               int vocab);

// constraints.cpp
/// Nothing but the ids that the callback names; where all of those are removed already, in every beam
/// of the prompt, they come back with score 0. Throws ArgumentError when it names none, or one outside the
/// vocabulary.
ProcessorPtr prefix_constraint(PrefixAllowed allowed, size_t row);

// forced_words.cpp
/// Words that the new tokens begin with, one after the other, which one first is left to the scores: until
/// all are there nothing else may come. Throws ArgumentError as check_words and check_room do.
ProcessorPtr forced_words(const std::vector<config::ForcedWord>& words, const std::vector<int32_t>& eos,
                          int prompt_length, int max_length, int vocab);

// watermark.cpp
/// Adds a bias to a share of the vocabulary that the newest id selects by the permutation that
/// torch.randperm draws. @source WatermarkLogitsProcessor, "lefthash"
ProcessorPtr watermark(const config::Watermark& options);

// invalid.cpp
ProcessorPtr remove_invalid_values();
ProcessorPtr renormalize();
/// Where an EOS id is more probable than min_eos_p, nothing else is left.
/// @source BarkEosPrioritizerLogitsProcessor
ProcessorPtr min_eos_p(double probability, std::vector<int32_t> eos);

// warpers.cpp. `keep` is min_tokens_to_keep: so many of the best tokens always stay.
ProcessorPtr temperature(double value);
ProcessorPtr top_h(double share);
ProcessorPtr top_k(int k, int keep = 1);
ProcessorPtr top_p(double mass, int keep = 1);
ProcessorPtr min_p(double share, int keep = 1);
ProcessorPtr typical_p(double mass, int keep = 1);
ProcessorPtr epsilon_cutoff(double epsilon, int keep = 1);
ProcessorPtr eta_cutoff(double eta, int keep = 1);

}  // namespace genkit::logits

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/config/generation_config.h"
#include "genkit/logits/random.h"
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
  /// Told what was drawn from the scores that the chain left, where the row goes on with it. Only
  /// processors with a state look at it, and only modes with one row of draws honour those.
  virtual void observe(const Scores& /*scores*/, int32_t /*id*/) {}
};
using ProcessorPtr = std::unique_ptr<Processor>;

/// A caller's own processor: sees the row's ids and changes its scores [vocab].
using UserProcessor = std::function<void(std::span<const int32_t> ids, std::span<float> scores)>;

/// The ids that may come next in a row, by what it has so far.
using PrefixAllowed = std::function<std::vector<int32_t>(size_t row, std::span<const int32_t> ids)>;

/// A token's text in bytes.
using TokenBytes = std::function<std::string(int32_t id)>;

/// Guidance of raw logits: unconditional + (scores - unconditional) * scale.
/// @source ClassifierFreeGuidanceLogitsProcessor
void guide_logits(std::span<float> scores, std::span<const float> unconditional, double scale);

/// Classifier-free guidance, before every processor: both branches as log-probabilities, then
/// scale * (scores - unconditional) + unconditional.
/// @param scores [vocab] raw logits, changed in place; unconditional [vocab] of the other branch.
/// @source UnbatchedClassifierFreeGuidanceLogitsProcessor
void guide(std::span<float> scores, std::span<const float> unconditional, double scale);

// Constructors, by family. Each throws ArgumentError naming its option for a value it cannot have.
// `vocab` is the number of scores; ids outside it are an error where they would be written to.

// biases.cpp
ProcessorPtr sequence_bias(const std::vector<config::SequenceBias>& entries, int vocab);
/// Adds a number to the scores of single ids. @source OpenAI's logit_bias
ProcessorPtr logit_bias(const config::LogitBias& biases, int vocab);
/// @param eos ids that a one-token bad word may not ban. @source NoBadWordsLogitsProcessor
ProcessorPtr bad_words(const std::vector<std::vector<int32_t>>& words, const std::vector<int32_t>& eos,
                       int vocab);
ProcessorPtr suppress_tokens(std::vector<int32_t> ids);
/// @param length that the context must have.
ProcessorPtr suppress_tokens_at(std::vector<int32_t> ids, int length);

// repetition.cpp
/// Penalises every id of the context once: score * penalty below zero, score / penalty above.
/// @param ignored      leading positions that do not count (left padding).
/// @param context_size only so many of the newest ids count; 0: all.
/// @source Keskar et al. 2019, section 4.1; RepetitionPenaltyLogitsProcessor
ProcessorPtr repetition_penalty(double penalty, int ignored, int context_size = 0);
/// The reverse for ids of the prompt. @source EncoderRepetitionPenaltyLogitsProcessor
ProcessorPtr encoder_repetition_penalty(double penalty, std::span<const int32_t> prompt);
ProcessorPtr no_repeat_ngram(int size);
/// Takes `penalty` from an id for each time that it is in Context::others.
/// @source Vijayakumar et al. 2016, equation 2; transformers 4.55.4 HammingDiversityLogitsProcessor
ProcessorPtr diversity(double penalty);
ProcessorPtr encoder_no_repeat_ngram(int size, std::span<const int32_t> prompt);

// frequency.cpp
/// Takes off `frequency` for each time an id occurs among context[from..], and `presence` once.
/// @source OpenAI's frequency_penalty and presence_penalty, as vLLM counts: over the new tokens.
ProcessorPtr frequency_penalty(double frequency, double presence, int from);

// dry.cpp
struct DryOptions {
  double multiplier = 0;
  double base = 1.75;
  int allowed_length = 2;
  int last_n = -1;                    ///< ids looked at, the newest; -1: all
  std::vector<std::string> breakers;  ///< texts across which nothing counts as repeated
};
/// Takes multiplier * base^(length - allowed_length) off the ids that would continue a repetition of
/// `length` ids. Linear in the context. @source p-e-w 2024, "DRY", as in llama.cpp
/// @param ignored     leading positions that do not count (left padding).
/// @param token_bytes may be null where there are no breakers.
ProcessorPtr dry(DryOptions options, int ignored, TokenBytes token_bytes);

// lengths.cpp
/// Nothing but the given id at the new position, counted from 0, that has one.
/// @source transformers 4.38 ForceTokensLogitsProcessor
ProcessorPtr forced_tokens(const std::vector<config::ForcedToken>& tokens, int prompt_length, int vocab);
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
/// Adds a bias to a share of the vocabulary that the newest id ("lefthash"), or each of the 40 best ids
/// with the ids before it ("selfhash"), selects by the permutation that torch.randperm draws.
/// @source WatermarkLogitsProcessor
ProcessorPtr watermark(const config::Watermark& options);

// synthid.cpp
/// Tournament sampling: shifts probability towards ids whose hash with those before it has more ones
/// in a table of random bits. Its context are the new tokens alone.
/// @source Dathathri et al. 2024; SynthIDTextWatermarkLogitsProcessor
ProcessorPtr synthid_watermark(const config::SynthId& options, int prompt_length);

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

// entropy_warpers.cpp
/// With `probability`, drawn by (seed, row, position): of the ids that are at least `threshold` probable none
/// but the least probable stays. @source p-e-w 2024, "XTC", as in llama.cpp
ProcessorPtr xtc(double probability, double threshold, const DrawKey& key, int padding);
/// Divides by a number from temperature - range (but 0) to temperature + range: the entropy of what is left,
/// as a share of its maximum, to `exponent` says where between. @source llama.cpp's temp_ext
ProcessorPtr dynamic_temperature(double temperature, double range, double exponent);
/// Keeps ids whose surprise is at most mu bits, which begins at 2 tau and moves by eta * (tau - surprise) of
/// what is drawn. Holds mu: one for each row. @source Basu et al. 2021, version 2 as in llama.cpp
ProcessorPtr mirostat(double tau, double eta);

}  // namespace genkit::logits

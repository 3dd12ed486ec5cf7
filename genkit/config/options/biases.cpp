#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// Beams of other kinds are constrained ones as soon as words are forced.
constexpr Modes kForcing = (kAll & ~kBeams) | modes(GenerationMode::kConstrainedBeam);

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kBiasesRows[] = {
    {"sequence_bias", {}, &C::sequence_bias, kAll, kAny, "null", "[]",
     "[[[ids], bias], ...]: added to the score of a sequence's last id where the others precede it."},
    {"logit_bias", {}, &C::logit_bias, kAll, kAny, "null", "{}",
     "{id: bias, ...} or [[id, bias], ...]: added to the scores of these ids."},
    {"bad_words_ids", {}, &C::bad_words_ids, kAll, kId, "null", "[]",
     "Sequences of ids that are never completed."},
    {"suppress_tokens", {}, &C::suppress_tokens, kAll, kId, "null", "[]",
     "Ids that are never chosen."},
    {"begin_suppress_tokens", {}, &C::begin_suppress_tokens, kAll, kId, "null", "[]",
     "Ids that are not chosen as the first new token."},
    {"force_words_ids", {}, &C::force_words_ids, kForcing, kAny, "null", "[]",
     "Phrases, or lists of alternatives, that the output holds; without beams it begins with them."},
    {"force_words_strictly", {}, &C::force_words_strictly, modes(GenerationMode::kConstrainedBeam), kAny, "true", "true",
     "Return nothing without the forced words; false: as transformers, which may run out of tokens first."},
    {"forced_decoder_ids", {}, &C::forced_decoder_ids, kAll, kAny, "null", "[]",
     "[[position, id], ...]: ids that the new tokens at these positions, counted from 0, have to be."},
    {"remove_invalid_values", {}, &C::remove_invalid_values, kAll, kAny, "false", "false",
     "Replace NaN and infinite scores by finite ones."},
    {"renormalize_logits", {}, &C::renormalize_logits, kAll, kAny, "false", "false",
     "Log-softmax after all other processors."},
    {"watermarking_config", {}, &C::watermarking_config, kAll, kAny, "null", "",
     "{greenlist_ratio, bias, hashing_key, seeding_scheme, context_width}, or SynthID's {ngram_len, keys, ...}: "
     "favours ids that the ones before them select."},
};

constexpr UnsupportedOption kBiasesUnsupported[] = {
    {"constraints", "[[]]", "constrained beam search"},
    {"token_healing", "[false]", "token healing"},
};
// clang-format on

}  // namespace

OptionGroup biases() { return {"Biases and constraints", kBiasesRows, kBiasesUnsupported}; }

}  // namespace genkit::config::options

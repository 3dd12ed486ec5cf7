#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kLengthsRows[] = {
    {"max_new_tokens", {"max_tokens"}, &C::max_new_tokens, kAll, kCountFromOne, "null", "",
     "Most tokens to generate. Without it and max_length: 20, within the model's context."},
    {"max_length", {}, &C::max_length, kAll, kCountFromOne, "null", "",
     "Most tokens in all, prompt and its padding included; max_new_tokens beats it."},
    {"min_length", {}, &C::min_length, kAll, kCount, "0", "0",
     "No EOS before the sequence, prompt included, is that long; min_new_tokens overwrites it."},
    {"min_new_tokens", {"min_tokens"}, &C::min_new_tokens, kAll, kCount, "null", "0",
     "No EOS before that many new tokens."},
    {"max_time", {}, &C::max_time, kAll, kFromZero, "null", "",
     "Seconds after which a row ends at its next token."},
    {"eos_token_id", {"eos_token_ids"}, &C::eos_token_id, kAll, kIdOrNone, "null", "",
     "Id or ids that end a row; an empty list: none does."},
    {"pad_token_id", {}, &C::pad_token_id, kAll, kIdOrNone, "null", "",
     "Id that fills rectangular results, and marks padding in prompts; -1: none."},
    {"bos_token_id", {}, &C::bos_token_id, kAll, kIdOrNone, "null", "",
     "Id that begins a text; for the caller, nothing is added to a prompt of ids."},
    {"stop_strings", {"stop", "stop_sequences"}, &C::stop_strings, kAll, kAny, "null", "[]",
     "Texts that end a row, found across token borders and cut from its text."},
    {"forced_bos_token_id", {}, &C::forced_bos_token_id, kAll, kId, "null", "",
     "The token after a prompt of one token."},
    {"forced_eos_token_id", {}, &C::forced_eos_token_id, kAll, kId, "null", "",
     "The last token when max_length is reached; of several ids the lowest."},
    {"exponential_decay_length_penalty", {}, &C::exponential_decay_length_penalty, kAll, kAny, "null", "",
     "[start, factor]: EOS becomes exponentially more likely after `start` new tokens."},
};

constexpr UnsupportedOption kLengthsUnsupported[] = {
    {"decoder_start_token_id", "[]", "encoder-decoder models"},
};
// clang-format on

}  // namespace

OptionGroup lengths() { return {"Length and ends", kLengthsRows, kLengthsUnsupported}; }

}  // namespace genkit::config::options

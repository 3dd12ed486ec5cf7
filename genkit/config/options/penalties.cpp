#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kPenaltiesRows[] = {
    {"encoder_repetition_penalty", {}, &C::encoder_repetition_penalty, kAll, kPositive, "1.0", "1.0",
     "Above 1: favours the tokens of the prompt."},
    {"repetition_penalty", {}, &C::repetition_penalty, kAll, kPositive, "1.0", "1.0",
     "Above 1: disfavours tokens of prompt and output."},
    {"repetition_context_size", {}, &C::repetition_context_size, kAll, kCount, "null", "0",
     "How many of the newest tokens repetition_penalty looks at; 0: all.", {"repetition_penalty"}},
    {"frequency_penalty", {}, &C::frequency_penalty, kAll, kAny, "0.0", "0.0",
     "Taken off a token's score for each time that it is among the new tokens."},
    {"presence_penalty", {}, &C::presence_penalty, kAll, kAny, "0.0", "0.0",
     "Taken off a token's score once it is among the new tokens."},
    {"penalties_include_prompt", {}, &C::penalties_include_prompt, kAll, kAny, "false", "false",
     "frequency_penalty and presence_penalty count the prompt's tokens too.",
     {"frequency_penalty", "presence_penalty"}},
    {"dry_multiplier", {}, &C::dry_multiplier, kAll, kFromZero, "0.0", "0.0",
     "DRY: multiplier * base^(length - allowed length) is taken off tokens that continue a repetition."},
    {"dry_base", {}, &C::dry_base, kAll, kFromOne, "1.75", "",
     "DRY: how fast the penalty grows with the repetition's length.", {"dry_multiplier"}},
    {"dry_allowed_length", {}, &C::dry_allowed_length, kAll, kCountFromOne, "2", "",
     "DRY: the shortest repetition that is penalised.", {"dry_multiplier"}},
    {"dry_penalty_last_n", {}, &C::dry_penalty_last_n, kAll, kCountOrAll, "-1", "",
     "DRY: how many of the newest tokens are searched; -1: all.", {"dry_multiplier"}},
    {"dry_sequence_breakers", {}, &C::dry_sequence_breakers, kAll, kAny, R"(["\n", ":", "\"", "*"])", "",
     "DRY: texts across which nothing counts as repeated.", {"dry_multiplier"}},
    {"no_repeat_ngram_size", {}, &C::no_repeat_ngram_size, kAll, kCount, "0", "0",
     "No n-gram of that size occurs twice, the prompt included."},
    {"encoder_no_repeat_ngram_size", {}, &C::encoder_no_repeat_ngram_size, kAll, kCount, "0", "0",
     "No n-gram of that size of the prompt occurs in the output."},
};
// clang-format on

}  // namespace

OptionGroup penalties() { return {"Repetition", kPenaltiesRows, {}}; }

}  // namespace genkit::config::options

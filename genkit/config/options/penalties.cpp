#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kRows[] = {
    {"encoder_repetition_penalty", {}, &C::encoder_repetition_penalty, kAll, kPositive, "1.0", "1.0",
     "Above 1: favours the tokens of the prompt."},
    {"repetition_penalty", {}, &C::repetition_penalty, kAll, kPositive, "1.0", "1.0",
     "Above 1: disfavours tokens of prompt and output."},
    {"no_repeat_ngram_size", {}, &C::no_repeat_ngram_size, kAll, kCount, "0", "0",
     "No n-gram of that size occurs twice, the prompt included."},
    {"encoder_no_repeat_ngram_size", {}, &C::encoder_no_repeat_ngram_size, kAll, kCount, "0", "0",
     "No n-gram of that size of the prompt occurs in the output."},
};
// clang-format on

}  // namespace

OptionGroup penalties() { return {"Repetition", kRows, {}}; }

}  // namespace genkit::config::options

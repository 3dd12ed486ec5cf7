#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kOutputRows[] = {
    {"top_logprobs", {"logprobs"}, &C::top_logprobs, kAll, Range{.min = 0, .max = 1000}, "null", "",
     "Return each token's log-probability and those of the n best."},
    {"prompt_logprobs", {}, &C::prompt_logprobs, kAll, Range{.min = 0, .max = 1000}, "null", "",
     "Return each prompt token's log-probability and those of the n best at its place."},
    {"output_transition_scores", {}, &C::output_transition_scores, kAll, kAny, "false", "false",
     "Return the processed score of each new token, and its log-probability under the step's scores."},
    {"output_scores", {}, &C::output_scores, kAll, kAny, "false", "false",
     "Return the processed scores of each step."},
    {"output_logits", {}, &C::output_logits, kAll, kAny, "false", "false",
     "Return the model's logits of each step."},
};

constexpr UnsupportedOption kOutputUnsupported[] = {
    {"output_attentions", "[false]", "returning attention weights"},
    {"output_hidden_states", "[false]", "returning hidden states"},
};
// clang-format on

}  // namespace

OptionGroup output() { return {"Results", kOutputRows, kOutputUnsupported}; }

}  // namespace genkit::config::options

#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kRows[] = {
    {"num_beams", {}, &C::num_beams, kBeams, kBeamCount, "1", "1",
     "Continuations of each prompt that are followed at a time; above 1: beam search."},
    {"length_penalty", {}, &C::length_penalty, kBeams, kAny, "1.0", "1.0",
     "A beam's score is divided by its new tokens to this power: above 0 favours long ones."},
    {"early_stopping", {}, &C::early_stopping, kBeams, kAny, "false", "false",
     "true: stop at num_beams ended beams; false: when better ones are unlikely; \"never\": impossible."},
    {"num_return_sequences", {}, &C::num_return_sequences, kBeams, kCountFromOne, "1", "1",
     "How many of the best beams to return, at most num_beams."},
};

constexpr UnsupportedOption kUnsupported[] = {
    {"num_beam_groups", "[1]", "diverse beam search"},
    {"diversity_penalty", "[0.0]", "diverse beam search"},
};
// clang-format on

}  // namespace

OptionGroup beams() { return {"Beams", kRows, kUnsupported}; }

}  // namespace genkit::config::options

#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

constexpr Modes kDiverse = modes(GenerationMode::kDiverseBeam);

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kBeamsRows[] = {
    {"num_beams", {}, &C::num_beams, kBeams, kBeamCount, "1", "1",
     "Continuations of each prompt that are followed at a time; above 1: beam search."},
    {"num_beam_groups", {}, &C::num_beam_groups, kDiverse, kBeamCount, "1", "1",
     "Diverse beam search: the beams are divided into so many groups, each searching apart."},
    {"diversity_penalty", {}, &C::diversity_penalty, kDiverse, kFromZero, "0.0", "0.0",
     "Taken from a token's score for each beam of an earlier group that chose it in the same step."},
    {"length_penalty", {}, &C::length_penalty, kBeams, kAny, "1.0", "1.0",
     "A beam's score is divided by its new tokens to this power: above 0 favours long ones."},
    {"early_stopping", {}, &C::early_stopping, kBeams, kAny, "false", "false",
     "true: stop at num_beams ended beams; false: when better ones are unlikely; \"never\": impossible."},
    {"num_return_sequences", {}, &C::num_return_sequences, kBeams | kOneRowOfDraws, kBeamCount, "1", "1",
     "How many of the best beams to return, at most num_beams; while sampling, how many sequences to draw."},
};
// clang-format on

}  // namespace

OptionGroup beams() { return {"Beams", kBeamsRows, {}}; }

}  // namespace genkit::config::options

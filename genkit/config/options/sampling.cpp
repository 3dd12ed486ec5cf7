#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kSamplingRows[] = {
    {"do_sample", {}, &C::do_sample, kAll, kAny, "false", "",
     "Draw the next token; false: take the best."},
    {"seed", {}, &C::seed, kAll, kAny, "null", "",
     "Key of the draws: (seed, row, position in the row), and nothing else. Unset: a new one each time."},
    {"temperature", {"temp"}, &C::temperature, kSampling, kFromZero, "1.0", "1.0",
     "Divides the scores; 0 given without do_sample: greedy."},
    {"top_h", {}, &C::top_h, kSampling, kUnitAboveZero, "null", "",
     "Keep the best tokens that carry this share of the entropy of the best 100."},
    {"top_k", {}, &C::top_k, kSampling | modes(GenerationMode::kContrastive), kCount, "50", "0",
     "Keep the k best tokens, and those tied with the last; contrastive search: its candidates."},
    {"top_p", {}, &C::top_p, kSampling, kUnitAboveZero, "1.0", "1.0",
     "Keep the fewest best tokens whose probabilities reach it."},
    {"min_p", {}, &C::min_p, kSampling, kUnit, "null", "0.0",
     "Drop tokens less probable than this share of the best one's probability."},
    {"typical_p", {}, &C::typical_p, kSampling, kUnitAboveZero, "1.0", "1.0",
     "Keep the most typical tokens (surprise nearest the entropy) up to this mass."},
    {"epsilon_cutoff", {}, &C::epsilon_cutoff, kSampling, kUnitBelowOne, "0.0", "0.0",
     "Drop tokens less probable than this."},
    {"eta_cutoff", {}, &C::eta_cutoff, kSampling, kUnitBelowOne, "0.0", "0.0",
     "Drop tokens less probable than min(eta, sqrt(eta) * exp(-entropy))."},
    {"xtc_probability", {}, &C::xtc_probability, kSampling, kUnit, "0.0", "0.0",
     "XTC: how often, of the tokens as probable as xtc_threshold, only the least probable stays."},
    {"xtc_threshold", {}, &C::xtc_threshold, kSampling, kUnitAboveZero, "0.1", "",
     "XTC: the probability from which on a token is a top choice; above 0.5 there is never more than one.",
     {"xtc_probability"}},
    {"dynatemp_range", {}, &C::dynatemp_range, kSampling, kFromZero, "0.0", "0.0",
     "Temperature between temperature - range and temperature + range, by the entropy of what is left."},
    {"dynatemp_exponent", {}, &C::dynatemp_exponent, kSampling, kFromZero, "1.0", "",
     "Power of the entropy, as a share of its maximum, that decides between them.", {"dynatemp_range"}},
    {"mirostat_tau", {}, &C::mirostat_tau, kOneRowOfDraws, kPositive, "null", "",
     "Mirostat 2: surprise of a token, in bits, that is aimed at; a default or a model's top_k, top_p and so on do not apply."},
    {"mirostat_eta", {}, &C::mirostat_eta, kOneRowOfDraws, kPositive, "0.1", "",
     "Mirostat 2: how fast it is corrected.", {"mirostat_tau"}},
};
// clang-format on

}  // namespace

OptionGroup sampling() { return {"Sampling", kSamplingRows, {}}; }

}  // namespace genkit::config::options

#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

constexpr Modes kDola = modes(GenerationMode::kDola, GenerationMode::kDolaSampling);

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kContrastRows[] = {
    {"guidance_scale", {}, &C::guidance_scale, kAll, kAny, "null", "1.0",
     "Classifier-free guidance: above 1, away from the negative prompt."},
    {"penalty_alpha", {}, &C::penalty_alpha, modes(GenerationMode::kContrastive), kUnit, "null", "0.0",
     "Contrastive search among the top_k best: how much likeness to what is there counts against them."},
    {"dola_layers", {}, &C::dola_layers, kDola, kAny, "null", "",
     "DoLa: contrast the last layer with the one of these (\"low\", \"high\" or layers) that differs most."},
};
// clang-format on

}  // namespace

OptionGroup contrast() { return {"Guidance and contrast", kContrastRows, {}}; }

}  // namespace genkit::config::options

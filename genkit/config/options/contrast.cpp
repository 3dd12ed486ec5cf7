#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kRows[] = {
    {"guidance_scale", {}, &C::guidance_scale, kAll, kAny, "null", "1.0",
     "Classifier-free guidance: above 1, away from the negative prompt."},
};

constexpr UnsupportedOption kUnsupported[] = {
    {"penalty_alpha", "[0.0]", "contrastive search"},
    {"dola_layers", "[]", "DoLa"},
};
// clang-format on

}  // namespace

OptionGroup contrast() { return {"Guidance and contrast", kRows, kUnsupported}; }

}  // namespace genkit::config::options

#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
constexpr UnsupportedOption kUnsupported[] = {
    {"prompt_lookup_num_tokens", "[]", "prompt lookup"},
    {"max_matching_ngram_size", "[]", "prompt lookup"},
    {"is_assistant", "[false]", "assisted generation"},
    {"num_assistant_tokens", "[20]", "assisted generation"},
    {"num_assistant_tokens_schedule", "[\"constant\"]", "assisted generation"},
    {"assistant_confidence_threshold", "[0.4]", "assisted generation"},
    {"assistant_lookbehind", "[10]", "assisted generation"},
    {"target_lookbehind", "[10]", "assisted generation"},
    {"assistant_early_exit", "[]", "assisted generation"},
    {"assistant_ensemble_weight", "[]", "assisted generation"},
    {"speculation_type", "[]", "assisted generation"},
    {"use_mtp", "[false]", "multi-token prediction"},
};
// clang-format on

}  // namespace

OptionGroup speculation() { return {"Speculation", {}, kUnsupported}; }

}  // namespace genkit::config::options

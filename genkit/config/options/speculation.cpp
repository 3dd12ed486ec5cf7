#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

constexpr Modes kLookup = modes(GenerationMode::kPromptLookup, GenerationMode::kPromptLookupSampling);
constexpr Modes kAssisted = modes(GenerationMode::kAssisted, GenerationMode::kAssistedSampling);
// Each drafted token has logits for the whole vocabulary: a file must not ask for more than there is memory.
constexpr Range kDraftCount{.min = 1, .max = DraftTokens::kMost};

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kSpeculationRows[] = {
    {"prompt_lookup_num_tokens", {}, &C::prompt_lookup_num_tokens, kLookup, kDraftCount, "null", "",
     "Guess up to so many tokens that followed the last ones earlier in the row; the result stays the same."},
    {"max_matching_ngram_size", {}, &C::max_matching_ngram_size, kLookup, kCountFromOne, "10", "",
     "How many of the last tokens an earlier place is compared with to choose the best one."},
    {"num_assistant_tokens", {"num_draft_tokens"}, &C::num_assistant_tokens, kAssisted, kAny, "\"auto\"", "",
     "How many tokens a draft model goes ahead; auto: by how many come true."},
    {"num_assistant_tokens_schedule", {}, &C::num_assistant_tokens_schedule, kAssisted, kAny, "\"constant\"", "",
     "constant, or heuristic (heuristic_transient): 2 more after a draft that came true, else 1 less."},
    {"assistant_confidence_threshold", {}, &C::assistant_confidence_threshold, kAssisted, kUnit, "0.4", "",
     "A draft ends with the first token that the draft model gives a lower probability."},
};

constexpr UnsupportedOption kSpeculationUnsupported[] = {
    {"is_assistant", "[false]", "running as a draft model"},
    {"assistant_lookbehind", "[10]", "drafts in another vocabulary"},
    {"target_lookbehind", "[10]", "drafts in another vocabulary"},
    {"assistant_early_exit", "[]", "drafts from the model's first layers"},
    {"assistant_ensemble_weight", "[]", "accepting drafts that change the distribution"},
    {"speculation_type", "[]", "drafts from heads of the model"},
    {"use_mtp", "[false]", "multi-token prediction"},
};
// clang-format on

}  // namespace

OptionGroup speculation() { return {"Speculation", kSpeculationRows, kSpeculationUnsupported}; }

}  // namespace genkit::config::options

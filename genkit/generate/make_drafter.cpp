#include "genkit/generate/make_drafter.h"

#include <algorithm>

#include "genkit/generate/draft_length.h"
#include "genkit/generate/model_drafter.h"
#include "genkit/generate/prompt_lookup.h"

namespace genkit::generate {

namespace {

constexpr config::Modes kLookup =
    config::modes(GenerationMode::kPromptLookup, GenerationMode::kPromptLookupSampling);
constexpr config::Modes kAssisted =
    config::modes(GenerationMode::kAssisted, GenerationMode::kAssistedSampling);

}  // namespace

std::unique_ptr<Drafter> make_drafter(const RowSetup& setup, const logits::Chain& chain) {
  const GenerationConfig& config = setup.config.values;
  if (contains(kAssisted, setup.config.mode)) return std::make_unique<ModelDrafter>(setup, chain);
  if (contains(kLookup, setup.config.mode)) {
    return std::make_unique<PromptLookup>(*config.prompt_lookup_num_tokens, *config.max_matching_ngram_size,
                                          setup.pass_cost);
  }
  if (!setup.propose_tokens) return nullptr;
  return std::make_unique<CallerDrafter>(setup.propose_tokens, setup.row, setup.vocab_size);
}

int longest_draft(const config::EffectiveConfig& config, bool proposes) {
  if (contains(kAssisted, config.mode)) return DraftLength(config.values, 0).longest();
  if (contains(kLookup, config.mode)) return *config.values.prompt_lookup_num_tokens;
  return proposes ? config::DraftTokens::kMost : 0;
}

}  // namespace genkit::generate

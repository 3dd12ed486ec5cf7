#include "genkit/config/generation_mode.h"

namespace genkit::config {

const char* to_string(GenerationMode mode) {
  switch (mode) {
    case GenerationMode::kGreedy:
      return "greedy";
    case GenerationMode::kSampling:
      return "sampling";
    case GenerationMode::kBeam:
      return "beam";
    case GenerationMode::kBeamSampling:
      return "beam sampling";
    case GenerationMode::kDiverseBeam:
      return "diverse beam";
    case GenerationMode::kConstrainedBeam:
      return "constrained beam";
    case GenerationMode::kContrastive:
      return "contrastive";
    case GenerationMode::kDola:
      return "DoLa";
    case GenerationMode::kDolaSampling:
      return "DoLa sampling";
    case GenerationMode::kAssisted:
      return "assisted";
    case GenerationMode::kAssistedSampling:
      return "assisted sampling";
    case GenerationMode::kPromptLookup:
      return "prompt lookup";
    case GenerationMode::kPromptLookupSampling:
      return "prompt lookup sampling";
  }
  return "";
}

}  // namespace genkit::config

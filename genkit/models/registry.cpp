#include "genkit/models/registry.h"

#include <array>

#include "genkit/models/families.h"

namespace genkit::models {
namespace {

using config::Family;

struct FamilyRow {
  Family family;
  MakeModel* make;
};

constexpr std::array kFamilies = {
    FamilyRow{Family::kCohere, make_cohere},
    FamilyRow{Family::kGemma, make_gemma},
    FamilyRow{Family::kGemma2, make_gemma2},
    FamilyRow{Family::kGemma3, make_gemma3},
    FamilyRow{Family::kGlm4, make_glm4},
    FamilyRow{Family::kGpt2, make_gpt2},
    FamilyRow{Family::kGptNeox, make_gpt_neox},
    FamilyRow{Family::kGranite, make_granite},
    FamilyRow{Family::kLlama, make_llama},
    FamilyRow{Family::kMistral, make_llama},  // its windows are in the configuration
    FamilyRow{Family::kMixtral, make_mixtral},
    FamilyRow{Family::kOlmo2, make_olmo2},
    FamilyRow{Family::kPhi3, make_phi3},
    FamilyRow{Family::kQwen2, make_qwen2},
    FamilyRow{Family::kQwen3, make_qwen3},
    FamilyRow{Family::kQwen3Moe, make_qwen3},
    FamilyRow{Family::kSmolLm3, make_smollm3},
    FamilyRow{Family::kStableLm, make_stablelm},
    FamilyRow{Family::kStarcoder2, make_starcoder2},
};

static_assert(kFamilies.size() == static_cast<size_t>(Family::kGlm4) + 1, "a family without a builder");

}  // namespace

std::unique_ptr<Model> load_model(io::Checkpoint& checkpoint, const LoadOptions& options) {
  config::ModelConfig config = config::ModelConfig::from_json(checkpoint.config(), checkpoint.config_name());
  for (const FamilyRow& row : kFamilies) {
    if (row.family != config.family) continue;
    std::unique_ptr<Model> model = row.make(std::move(config), checkpoint, options);
    // The copy keeps the files mapped, as the weights do.
    model->set_fingerprint([checkpoint, arithmetic = options.arithmetic] {
      const std::string name = ops::name_of(arithmetic);
      return checkpoint.fingerprint() + (name == "fp32" ? "-exact" : name == "bf16" ? "-bf16" : "");
    });
    return model;
  }
  throw Error("no builder for model_type " + config.model_type);
}

}  // namespace genkit::models

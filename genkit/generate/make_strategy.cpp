#include "genkit/generate/make_strategy.h"

#include "genkit/generate/beam_search.h"
#include "genkit/generate/constrained_beam_search.h"
#include "genkit/generate/contrastive_search.h"
#include "genkit/generate/diverse_beam_search.h"
#include "genkit/generate/dola.h"
#include "genkit/generate/sampled_sequences.h"
#include "genkit/generate/single_row.h"

namespace genkit::generate {

std::unique_ptr<Strategy> make_strategy(RowSetup setup) {
  switch (setup.config.mode) {
    case GenerationMode::kBeam:
    case GenerationMode::kBeamSampling:
      return std::make_unique<BeamSearch>(std::move(setup));
    case GenerationMode::kDiverseBeam:
      return std::make_unique<DiverseBeamSearch>(std::move(setup));
    case GenerationMode::kConstrainedBeam:
      return std::make_unique<ConstrainedBeamSearch>(std::move(setup));
    case GenerationMode::kContrastive:
      return std::make_unique<ContrastiveSearch>(std::move(setup));
    case GenerationMode::kDola:
    case GenerationMode::kDolaSampling:
      return std::make_unique<Dola>(std::move(setup));
    case GenerationMode::kSampling:
      if (setup.config.values.num_return_sequences.value_or(1) > 1)
        return std::make_unique<SampledSequences>(std::move(setup));
      return std::make_unique<SingleRow>(std::move(setup));
    default:
      return std::make_unique<SingleRow>(std::move(setup));
  }
}

}  // namespace genkit::generate

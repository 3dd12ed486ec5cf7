#pragma once

#include "genkit/config/generation_config.h"

namespace genkit::generate {

using config::EffectiveConfig;
using config::GenerationConfig;
using config::GenerationMode;

}  // namespace genkit::generate

#pragma once

#include "genkit/config/generation_fields.h"

/// What the files of the field table share: one file a topic, each a group of rows that
/// generation_fields.cpp joins.
namespace genkit::config::options {

using C = GenerationConfig;

// Modes that an option acts in.
constexpr Modes kSampling = kDrawingModes;
constexpr Modes kBeams = kBeamModes;
constexpr Modes kAll = kAllModes;
// A state that follows what one row draws: beams and drafts that are thrown away have none.
constexpr Modes kOneRowOfDraws = modes(GenerationMode::kSampling);

// Ranges.
constexpr double kMaxInt = 2147483647.0;
constexpr Range kAny{};
constexpr Range kPositive{.min = 0, .min_open = true};
constexpr Range kFromZero{.min = 0};
constexpr Range kFromOne{.min = 1};
constexpr Range kCount{.min = 0, .max = kMaxInt};
constexpr Range kCountOrAll{.min = -1, .max = kMaxInt};
constexpr Range kCountFromOne{.min = 1, .max = kMaxInt};
// Each beam has scores for the whole vocabulary: a file must not ask for more than there is memory.
constexpr Range kBeamCount{.min = 1, .max = 4096};
constexpr Range kId{.min = 0, .max = kMaxInt};
constexpr Range kIdOrNone{.min = -1, .max = kMaxInt};
constexpr Range kUnit{.min = 0, .max = 1};
constexpr Range kUnitAboveZero{.min = 0, .max = 1, .min_open = true};
constexpr Range kUnitBelowOne{.min = 0, .max = 1, .max_open = true};

// The groups, in the order in which help shows them.
OptionGroup lengths();
OptionGroup sampling();
OptionGroup penalties();
OptionGroup biases();
OptionGroup contrast();
OptionGroup beams();
OptionGroup speculation();
OptionGroup cache();
OptionGroup output();

}  // namespace genkit::config::options

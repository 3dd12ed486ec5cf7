#pragma once

#include <cstdint>

namespace genkit::config {

/// What decides the next token; one bit each, so that an option can say in which of them it acts.
enum class GenerationMode : uint32_t {
  kGreedy = 1u << 0,
  kSampling = 1u << 1,
  kBeam = 1u << 2,
  kBeamSampling = 1u << 3,
  kDiverseBeam = 1u << 4,
  kConstrainedBeam = 1u << 5,
  kContrastive = 1u << 6,
  kDola = 1u << 7,
  kDolaSampling = 1u << 8,
  kAssisted = 1u << 9,
  kAssistedSampling = 1u << 10,
  kPromptLookup = 1u << 11,
  kPromptLookupSampling = 1u << 12,
};
const char* to_string(GenerationMode mode);

/// A set of modes: their bits.
using Modes = uint32_t;

template <class... M>
constexpr Modes modes(M... of) {
  return (static_cast<Modes>(of) | ...);
}
constexpr bool contains(Modes set, GenerationMode mode) { return (set & static_cast<Modes>(mode)) != 0; }

/// The modes in which tokens are drawn, so that there are warpers.
constexpr Modes kDrawingModes =
    modes(GenerationMode::kSampling, GenerationMode::kBeamSampling, GenerationMode::kDolaSampling,
          GenerationMode::kAssistedSampling, GenerationMode::kPromptLookupSampling);
constexpr Modes kBeamModes = modes(GenerationMode::kBeam, GenerationMode::kBeamSampling,
                                   GenerationMode::kDiverseBeam, GenerationMode::kConstrainedBeam);
constexpr Modes kSpeculativeModes =
    modes(GenerationMode::kAssisted, GenerationMode::kAssistedSampling, GenerationMode::kPromptLookup,
          GenerationMode::kPromptLookupSampling);
constexpr Modes kAllModes =
    modes(GenerationMode::kGreedy, GenerationMode::kContrastive, GenerationMode::kDola) | kDrawingModes |
    kBeamModes | kSpeculativeModes;

constexpr bool draws(GenerationMode mode) { return contains(kDrawingModes, mode); }
constexpr bool has_beams(GenerationMode mode) { return contains(kBeamModes, mode); }

}  // namespace genkit::config

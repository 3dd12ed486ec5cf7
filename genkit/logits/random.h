#pragma once

#include <array>
#include <cstdint>

namespace genkit::logits {

/// One block of the counter-based generator Philox4x32-10: the same counter and key give the same
/// four words on every machine, in any order and on any thread.
/// @source Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Where a draw stands: nothing else decides it.
struct DrawKey {
  uint64_t seed = 0;
  uint64_t row = 0;   ///< below 2^48
  uint64_t step = 0;  ///< tokens of the row before this one, its prompt counted and padding not: so that a
                      ///< row that is taken up again draws what it would have drawn
};

/// A number in [0, 1) with 53 random bits. @param draw of several at the same step.
double uniform(const DrawKey& key, uint16_t draw = 0);

}  // namespace genkit::logits

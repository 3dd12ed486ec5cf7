#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace genkit::logits {

struct Occurrence {
  int32_t id;
  int count;
};
/// Each id once, in the order of its first occurrence. A chain counts its whole context at every token, so
/// this is a table without a node an id.
std::vector<Occurrence> occurrences(std::span<const int32_t> ids);

}  // namespace genkit::logits

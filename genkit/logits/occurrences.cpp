#include "genkit/logits/occurrences.h"

#include <bit>

namespace genkit::logits {

std::vector<Occurrence> occurrences(std::span<const int32_t> ids) {
  std::vector<Occurrence> out;
  const size_t size = std::bit_ceil(2 * ids.size() + 1), mask = size - 1;
  std::vector<uint32_t> places(size, 0);  // of an id in `out`, plus 1; 0: free
  for (const int32_t id : ids) {
    // Ids that follow each other in the vocabulary must not follow each other in the table.
    size_t at = (static_cast<uint32_t>(id) * 0x9E3779B1u >> 7) & mask;
    while (places[at] != 0 && out[places[at] - 1].id != id) at = (at + 1) & mask;
    if (places[at] == 0) {
      out.push_back({id, 0});
      places[at] = static_cast<uint32_t>(out.size());
    }
    ++out[places[at] - 1].count;
  }
  return out;
}

}  // namespace genkit::logits

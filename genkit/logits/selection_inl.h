#pragma once

#include <algorithm>

#include "genkit/logits/selection.h"

namespace genkit::logits {

template <class Stays>
size_t prefix_by_mass(std::vector<Weighted>& entries, Stays stays) {
  const auto before = [](const Weighted& a, const Weighted& b) {
    return a.key != b.key ? a.key < b.key : a.id < b.id;
  };
  // Quickselect by mass: halve the range that holds the border, adding up what is left behind.
  size_t begin = 0, end = entries.size();
  double passed = 0;
  while (end - begin > 64) {
    const size_t middle = begin + (end - begin) / 2;
    std::nth_element(entries.begin() + begin, entries.begin() + middle, entries.begin() + end, before);
    double half = 0;
    for (size_t i = begin; i < middle; ++i) half += entries[i].mass;
    if (stays(passed + half)) {
      passed += half;
      begin = middle;
    } else {
      end = middle;
    }
  }
  std::sort(entries.begin() + begin, entries.begin() + end, before);
  for (; begin < end; ++begin) {
    passed += entries[begin].mass;
    if (!stays(passed)) break;
  }
  return begin;
}

}  // namespace genkit::logits

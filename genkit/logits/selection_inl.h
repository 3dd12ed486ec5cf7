#pragma once

#include <algorithm>
#include <array>

#include "genkit/logits/selection.h"

namespace genkit::logits {

template <class Stays>
size_t prefix_by_mass(std::vector<Weighted>& entries, Stays stays) {
  const auto before = [](const Weighted& a, const Weighted& b) {
    return a.key != b.key ? a.key < b.key : a.id < b.id;
  };
  size_t begin = 0, end = entries.size();
  double passed = 0;
  // Of a whole vocabulary most lies far from the border: one pass sorts it into bins by key, and only
  // the bin with the border is looked at closely.
  constexpr size_t kBins = 1024;
  if (end > 4 * kBins) {
    const auto [low, high] = std::minmax_element(
        entries.begin(), entries.end(), [](const Weighted& a, const Weighted& b) { return a.key < b.key; });
    const float least = low->key, scale = (kBins - 1) / std::max(high->key - least, 1e-30f);
    const auto bin_of = [&](const Weighted& entry) {
      return std::min(kBins - 1, static_cast<size_t>((entry.key - least) * scale));
    };
    std::array<double, kBins> masses{};
    for (const Weighted& entry : entries) masses[bin_of(entry)] += entry.mass;
    size_t border = 0;
    for (; border + 1 < kBins && stays(passed + masses[border]); ++border) passed += masses[border];
    const auto inside = std::partition(entries.begin(), entries.end(),
                                       [&](const Weighted& entry) { return bin_of(entry) < border; });
    const auto above =
        std::partition(inside, entries.end(), [&](const Weighted& entry) { return bin_of(entry) == border; });
    begin = static_cast<size_t>(inside - entries.begin());
    end = static_cast<size_t>(above - entries.begin());
  }
  // Quickselect by mass: halve the range that holds the border, adding up what is left behind.
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

#include "genkit/generate/beam_choice.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "genkit/logits/selection.h"

namespace genkit::generate {

std::vector<Continuation> best_continuations(std::span<const std::span<const float>> scores, int count) {
  std::vector<Continuation> out;
  for (size_t beam = 0; beam < scores.size(); ++beam) {
    for (const auto& [token, score] : logits::largest(scores[beam], count)) {
      out.push_back({static_cast<int>(beam), token, score});
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Continuation& a, const Continuation& b) { return a.score > b.score; });
  out.resize(std::min(out.size(), static_cast<size_t>(count)));
  return out;
}

std::vector<Continuation> draw_continuations(std::span<const std::span<const float>> scores, int count,
                                             const logits::DrawKey& key) {
  float top = logits::kRemoved;
  for (const auto& beam : scores) top = std::max(top, *std::max_element(beam.begin(), beam.end()));
  std::vector<Continuation> open;
  std::vector<double> masses;
  double total = 0;
  for (size_t beam = 0; beam < scores.size(); ++beam) {
    for (size_t token = 0; token < scores[beam].size(); ++token) {
      const float mass = std::exp(scores[beam][token] - top);
      if (!(mass > 0)) continue;
      open.push_back({static_cast<int>(beam), static_cast<int32_t>(token), scores[beam][token]});
      masses.push_back(mass);
      total += mass;
    }
  }
  const size_t wanted = static_cast<size_t>(count), drawn = std::min(wanted, open.size());
  std::vector<Continuation> out;
  std::set<std::pair<int, int32_t>> taken;
  while (out.size() < drawn) {
    const double target = logits::uniform(key, static_cast<uint16_t>(out.size())) * total;
    double passed = 0;
    size_t chosen = open.size();
    for (size_t i = 0; i < open.size(); ++i) {
      if (masses[i] == 0) continue;
      chosen = i;  // rounding may keep the sum from passing the target: the last one then
      passed += masses[i];
      if (passed > target) break;
    }
    out.push_back(open[chosen]);
    taken.emplace(open[chosen].beam, open[chosen].token);
    total -= masses[chosen];
    masses[chosen] = 0;
  }
  if (out.size() == wanted) return out;
  for (const Continuation& rest : best_continuations(scores, count)) {
    if (out.size() < wanted && !taken.contains({rest.beam, rest.token})) out.push_back(rest);
  }
  return out;
}

}  // namespace genkit::generate

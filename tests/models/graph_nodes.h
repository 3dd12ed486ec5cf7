#pragma once

#include <mlx/array.h>
#include <mlx/primitives.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace genkit::test {

namespace mx = mlx::core;

/// How many nodes of each name stand between what is at hand and `results`.
inline std::map<std::string, int> graph_nodes(const std::vector<mx::array>& results) {
  std::map<std::string, int> names;
  std::set<const mx::Primitive*> seen;
  std::vector<mx::array> left = results;
  while (!left.empty()) {
    const mx::array a = left.back();
    left.pop_back();
    if (!a.has_primitive() || a.is_available() || !seen.insert(&a.primitive()).second) continue;
    ++names[a.primitive().name()];
    for (const mx::array& input : a.inputs()) left.push_back(input);
  }
  return names;
}

inline int count_nodes(const std::vector<mx::array>& results) {
  int count = 0;
  for (const auto& [name, nodes] : graph_nodes(results)) count += nodes;
  return count;
}

/// MLX's own operations that are slow on a processor, as far as the graph has them.
inline std::set<std::string> slow_nodes(const std::vector<mx::array>& results) {
  static const std::set<std::string> kSlow = {"Matmul",
                                              "AddMM",
                                              "GatherMM",
                                              "SegmentedMM",
                                              "BlockMaskedMM",
                                              "Convolution",
                                              "QQMatmul",
                                              "QuantizedMatmul",
                                              "GatherQMM",
                                              "Softmax",
                                              "LogSumExp",
                                              "Sort",
                                              "ArgSort",
                                              "Partition",
                                              "ArgPartition",
                                              "RMSNorm",
                                              "LayerNorm",
                                              "RoPE",
                                              "ScaledDotProductAttention"};
  std::set<std::string> found;
  for (const auto& [name, nodes] : graph_nodes(results)) {
    if (kSlow.count(name) != 0) found.insert(name);
  }
  return found;
}

}  // namespace genkit::test

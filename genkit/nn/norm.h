#pragma once

#include <mlx/array.h>

#include <optional>

namespace genkit::nn {

namespace mx = mlx::core;

/// RMSNorm or LayerNorm over the last axis. A weight of more than one axis ([heads, head_dim]) gives
/// every head its own.
struct Norm {
  enum class Kind : uint8_t { kRms, kLayer };
  Kind kind = Kind::kRms;
  std::optional<mx::array> weight;  ///< [n] or [heads, n] float32
  std::optional<mx::array> bias;    ///< [n] float32; LayerNorm only
  float eps = 1e-6f;
  float offset = 0.0f;  ///< RMSNorm: added to the weight; 1 in the Gemma families

  mx::array operator()(const mx::array& x) const;
};

}  // namespace genkit::nn

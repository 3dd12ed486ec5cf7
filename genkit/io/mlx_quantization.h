#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "genkit/io/tensor_entry.h"

namespace genkit::io {

enum class MlxMode : uint8_t { kAffine, kMxfp4 };

/// How one layer of an MLX folder is quantised.
struct MlxLayer {
  MlxMode mode = MlxMode::kAffine;
  int bits = 4;
  int group_size = 64;
};

/// `quantization` of an MLX folder's config.json: a default, and layers that differ.
class MlxQuantization {
 public:
  /// @return nothing when the model is not quantised.
  /// @throws FormatError naming the field: other methods (gptq, awq, fp8 ...), modes, bits, groups.
  static std::optional<MlxQuantization> from_config(const nlohmann::json& config, const std::string& file);

  /// @param name a tensor's name as the file has it, without ".weight".
  MlxLayer layer(const std::string& name) const;

 private:
  MlxLayer default_;
  std::map<std::string, MlxLayer> layers_;
};

/// A quantised matrix [..., out, in] from the three arrays MLX stores.
/// @param words  uint32 [..., out, in * bits / 32]; @param scales [..., out, in / group_size];
/// @param biases the same, or nothing for mxfp4. @param origin file and tensor, for messages.
/// @throws FormatError when shapes and dtypes do not belong together.
TensorEntry mlx_entry(const MlxLayer& layer, const mlx::core::array& words, const mlx::core::array& scales,
                      const std::optional<mlx::core::array>& biases, const std::string& origin);

}  // namespace genkit::io

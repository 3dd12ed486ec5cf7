#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "genkit/ops/weight.h"

namespace genkit::io {

enum class CheckpointKind : uint8_t { kHuggingFace, kMlx, kGguf };

/// What loading left over. Printed by `mlxgk info`, an error where the model cannot run.
struct TensorReport {
  std::vector<std::string> missing;
  std::vector<std::string> unused;
  std::vector<std::string> wrong_shape;  ///< "NAME: expected [a, b], got [c, d]"
};

/// A model's weights under Hugging Face names, whatever file they come from. GGUF and MLX names
/// are mapped, and what those formats store transformed (permuted rows, norms plus one) is
/// undone, so that a model reads one convention only.
class Checkpoint {
 public:
  /// @param path a folder (HF or MLX), a .gguf file, or a .safetensors file beside its config.json.
  /// @throws IoError, FormatError naming the file and the field.
  static Checkpoint open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  CheckpointKind kind() const { return kind_; }
  /// HF config.json, or the same made from GGUF metadata.
  const nlohmann::json& config() const { return config_; }
  /// generation_config.json, or null.
  const nlohmann::json& generation_config() const { return generation_config_; }

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  /// The tensor's shape in numbers, without loading it. @throws FormatError when there is none.
  const mlx::core::Shape& shape(const std::string& name) const;
  /// Gives the tensor out and notes that it was used. No copy unless its format needs one.
  /// @throws FormatError naming file, tensor, expected and actual shape.
  ops::Weight take(const std::string& name, const mlx::core::Shape& shape);
  /// A stack of expert matrices. @param pattern the name of one expert's matrix with "{}" for its
  /// number: "model.layers.0.mlp.experts.{}.up_proj.weight"; where the file holds them stacked
  /// already, the tensor is called like that without "{}.". @param shape [experts, out, in].
  ops::Weight take_experts(const std::string& pattern, const mlx::core::Shape& shape);
  /// As take(), in fp32, for norms and biases.
  mlx::core::array take_dense(const std::string& name, const mlx::core::Shape& shape);
  TensorReport report() const;
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
  CheckpointKind kind_ = CheckpointKind::kHuggingFace;
  nlohmann::json config_;
  nlohmann::json generation_config_;
  std::map<std::string, ops::Weight> tensors_;
  std::set<std::string> used_;
};

}  // namespace genkit::io

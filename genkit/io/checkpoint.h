#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "genkit/io/tensor_entry.h"
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
/// undone, so that a model reads one convention only: the names and layouts of the files that
/// transformers writes, with these differences.
///   - gpt2's Conv1D matrices (c_attn, c_proj, c_fc) are given as [out, in], like all others.
///   - Prefixes are those of the ForCausalLM class also where a file was saved from the bare model
///     ("layers.0..." is found as "model.layers.0...") or holds a language model inside another.
///   - Experts' matrices are stacks: @see take_experts.
///   - Buffers (rotary_emb.inv_freq, causal masks) and towers for images and sound are left out.
/// Nothing is copied that needs no conversion: arrays look into the mapped file.
class Checkpoint {
 public:
  /// @param path a folder (HF or MLX), a .gguf file, a folder with a single model in .gguf files, or
  ///             a .safetensors file beside its config.json.
  /// @throws IoError, FormatError naming the file and the field.
  static Checkpoint open(const std::filesystem::path& path);

  /// Tensors in memory, under internal names, for a model that is made anew around them: with arrays
  /// that a gradient is taken of, its forward pass is a function of them.
  /// @param tensors float32, float16 or bfloat16. @throws FormatError naming one of another dtype.
  static Checkpoint of_arrays(nlohmann::json config, const std::map<std::string, mlx::core::array>& tensors);

  const std::filesystem::path& path() const { return path_; }
  CheckpointKind kind() const { return kind_; }
  /// HF config.json, or the same made from GGUF metadata.
  const nlohmann::json& config() const { return config_; }
  /// generation_config.json, or the same made from GGUF metadata, or null.
  const nlohmann::json& generation_config() const { return generation_config_; }
  /// What messages about config() should call it: "config.json", "model.gguf: metadata".
  const std::string& config_name() const { return config_name_; }

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  /// The tensor's shape in numbers, without loading it. @throws FormatError when there is none.
  const mlx::core::Shape& shape(const std::string& name) const;
  /// Gives the tensor out and notes that it was used. No copy unless its format needs one.
  /// @throws FormatError naming file, tensor, expected and actual shape.
  ops::Weight take(const std::string& name, const mlx::core::Shape& shape);
  /// A stack of expert matrices. @param pattern the name of one expert's matrix with "{}" for its
  /// number: "model.layers.0.mlp.experts.{}.up_proj.weight". Files that hold the matrices stacked
  /// (GGUF, MLX, transformers 5) are used as they are; single matrices are copied into a stack.
  /// @param shape [experts, out, in].
  ops::Weight take_experts(const std::string& pattern, const mlx::core::Shape& shape);
  /// As take(), in fp32, for norms and biases.
  mlx::core::array take_dense(const std::string& name, const mlx::core::Shape& shape);
  /// `missing` and `wrong_shape`: what was asked for and refused so far; `unused`: what was not
  /// asked for.
  TensorReport report() const;
  std::vector<std::string> names() const;
  /// Tells this model from every other: a hash of the configuration and of every tensor's name,
  /// format, shape and bytes, wherever the file keeps them. Reads all of the weights.
  std::string fingerprint() const;

 private:
  void read(const std::filesystem::path& path);
  const TensorEntry& find(const std::string& name, const mlx::core::Shape& shape);
  std::filesystem::path path_;
  CheckpointKind kind_ = CheckpointKind::kHuggingFace;
  nlohmann::json config_;
  nlohmann::json generation_config_;
  std::string config_name_;
  TensorMap tensors_;
  std::set<std::string> used_;
  TensorReport refused_;
};

}  // namespace genkit::io

#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "genkit/io/tensor_entry.h"

namespace genkit::io {

/// What a folder of safetensors files and JSON files holds, under the names that models ask for.
struct HfFolder {
  nlohmann::json config;
  nlohmann::json generation_config;  ///< or null
  bool quantized = false;            ///< MLX's quantisation
  TensorMap tensors;
};

/// @param path the folder, or one .safetensors file in it: then the folder's other weights are not
///             looked at.
/// @throws IoError, FormatError naming the file and the field.
HfFolder open_hf_folder(const std::filesystem::path& path);

}  // namespace genkit::io

#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "genkit/io/tensor_entry.h"

namespace genkit::io {

/// A GGUF model as transformers would see it.
struct GgufCheckpoint {
  nlohmann::json config;
  nlohmann::json generation_config;  ///< or null
  TensorMap tensors;
};

/// @param path a .gguf file; of a split model ("NAME-00001-of-00003.gguf") the first one.
/// @throws IoError, FormatError naming the file and the field.
GgufCheckpoint open_gguf_checkpoint(const std::filesystem::path& path);

/// The .gguf file of a folder, the first one of a split model; nothing when there is none.
/// @throws FormatError listing them when the folder holds several models.
std::optional<std::filesystem::path> single_gguf_in(const std::filesystem::path& folder);

}  // namespace genkit::io

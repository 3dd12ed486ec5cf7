#pragma once

#include <mlx/array.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "genkit/io/mapped_file.h"

namespace genkit::io {

/// What a safetensors header says of one tensor.
struct SafetensorsEntry {
  mlx::core::Dtype dtype = mlx::core::float32;
  mlx::core::Shape shape;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// A safetensors file: mapped, its header parsed and checked. Immutable, usable from several
/// threads.
class SafetensorsFile {
 public:
  /// @throws IoError when the file cannot be read; FormatError naming file and tensor when the
  ///         header is no JSON object, is larger than the file, names a dtype MLX does not have
  ///         (F8_E4M3, F8_E5M2, ...), a tensor twice, shapes that do not fit their bytes, or
  ///         bytes that overlap, leave holes or do not end where the file does.
  /// @source https://github.com/huggingface/safetensors, "Format".
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }
  /// `__metadata__`; empty when there is none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The tensor, over the mapping (@see mapped_array).
  /// @throws FormatError "FILE: NAME: missing".
  mlx::core::array array(const std::string& name) const;

 private:
  SafetensorsFile() = default;
  friend class SafetensorsParser;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Every tensor of a file, over its mapping. @throws as SafetensorsFile::open.
std::map<std::string, mlx::core::array> load_safetensors(const std::filesystem::path& path);

/// Writes tensors and metadata. The file appears whole or not at all, and replaces an older one.
/// Arrays are evaluated one at a time.
/// @throws IoError naming the path; ArgumentError for a dtype that safetensors does not have
///         (complex64) and for the name "__metadata__".
void save_safetensors(const std::filesystem::path& path,
                      const std::map<std::string, mlx::core::array>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace genkit::io

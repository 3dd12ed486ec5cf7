#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace genkit::io {

/// A regular file, mapped read-only for as long as the object lives. Pages are read when they are
/// first looked at. A file that is overwritten in place while mapped changes under the reader
/// (one that is replaced by rename does not); a file cut short kills the process, as with any
/// mapping, so writers in this library always rename.
class MappedFile {
 public:
  /// @throws IoError naming the path and the system's reason; for a folder, that it is one.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace genkit::io

#pragma once

#include <cstdio>
#include <filesystem>
#include <string_view>

namespace genkit::io {

/// A file that appears under its name only when it is complete. Until commit() everything goes to
/// a temporary file in the same folder, which is removed when the object dies without commit().
///
///   AtomicFile file("out.safetensors");
///   file.write(header);
///   file.write(data);
///   file.commit();
class AtomicFile {
 public:
  /// @throws IoError naming the path and the system's reason, as all members do.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  /// Flushes to the disk and renames.
  void commit();

 private:
  [[noreturn]] void fail();
  void discard();
  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
};

}  // namespace genkit::io

#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "genkit/base/error.h"

namespace genkit::fuzz {

/// Runs a reader. Refusing the input with a typed error is what it is for; any other exception
/// passes through and is a finding, as is a crash, a hang or an allocation that the input sized.
template <typename Read>
int run(Read&& read) {
  try {
    read();
  } catch (const Error&) {
    // The seeds must be accepted, or fuzzing would never get past the first check.
    static const bool must_accept = std::getenv("GENKIT_FUZZ_ACCEPT") != nullptr;
    if (must_accept) throw;
  }
  return 0;
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A file's bytes.
inline std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder of this process, in memory where the system has such a place, for readers that take paths.
class ScratchFolder {
 public:
  ScratchFolder() {
    const bool has_memory = std::filesystem::is_directory("/dev/shm");
    std::string pattern = (has_memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
                          std::string("/genkit_fuzz_XXXXXX");
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::ofstream(file, std::ios::binary | std::ios::trunc)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace genkit::fuzz

#pragma once

#include <filesystem>
#include <string>

namespace genkit::eval {

/// A temporary folder of links to the files of another one, with one file standing in for
/// config.json. Removed with the object.
class LinkedFolder {
 public:
  /// @param config the name, in `source`, of the file to be config.json.
  /// @throws IoError naming the folder.
  LinkedFolder(const std::filesystem::path& source, const std::string& config);
  ~LinkedFolder();
  LinkedFolder(const LinkedFolder&) = delete;
  LinkedFolder& operator=(const LinkedFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace genkit::eval

#include "genkit/eval/linked_folder.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <cstring>

#include "genkit/base/error.h"

namespace genkit::eval {

namespace fs = std::filesystem;

LinkedFolder::LinkedFolder(const fs::path& source, const std::string& config) {
  std::string name = (fs::temp_directory_path() / "mlxgk-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw IoError(fmt::format("{}: {}", name, std::strerror(errno)));
  path_ = name;
  try {
    for (const auto& entry : fs::directory_iterator(source)) {
      const std::string file = entry.path().filename().string();
      if (file != "config.json" && file != config)
        fs::create_symlink(fs::absolute(entry.path()), path_ / file);
    }
    fs::create_symlink(fs::absolute(source / config), path_ / "config.json");
  } catch (const fs::filesystem_error& e) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    throw IoError(e.what());
  }
}

LinkedFolder::~LinkedFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace genkit::eval

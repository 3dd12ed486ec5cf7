#include "genkit/io/hub_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::io {

namespace fs = std::filesystem;

namespace {

/// "owner/name" of the letters the hub allows, so that a name cannot lead out of the cache.
bool is_hub_name(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) return false;
  if (name.find('/', slash + 1) != std::string::npos || name.find("..") != std::string::npos) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '/' || c == '-' || c == '_' || c == '.';
  });
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path hub_root() {
  if (const auto dir = environment("HF_HUB_CACHE"); !dir.empty()) return dir;
  if (const auto dir = environment("HF_HOME"); !dir.empty()) return fs::path(dir) / "hub";
  if (const auto dir = environment("XDG_CACHE_HOME"); !dir.empty())
    return fs::path(dir) / "huggingface" / "hub";
  if (const auto dir = environment("HOME"); !dir.empty())
    return fs::path(dir) / ".cache" / "huggingface" / "hub";
  return {};
}

std::string replace_slash(std::string name, std::string_view with) {
  return name.replace(name.find('/'), 1, with);
}

}  // namespace

std::optional<fs::path> find_in_hub_cache(const std::string& name) {
  if (!is_hub_name(name)) return std::nullopt;
  std::error_code error;
  const fs::path converted = fs::path("mlx_cache") / replace_slash(name, "_");
  if (fs::exists(converted / "config.json", error)) return converted;
  const fs::path root = hub_root();
  if (root.empty()) return std::nullopt;
  const fs::path repository = root / ("models--" + replace_slash(name, "--"));
  std::ifstream reference(repository / "refs" / "main");
  std::string commit;
  if (!(reference >> commit) || commit.find('/') != std::string::npos) return std::nullopt;
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::is_directory(snapshot, error)) return std::nullopt;
  return snapshot;
}

fs::path resolve_model(const std::string& path_or_name) {
  std::error_code error;
  if (fs::exists(path_or_name, error)) return path_or_name;
  if (const auto found = find_in_hub_cache(path_or_name)) return *found;
  if (is_hub_name(path_or_name)) {
    throw IoError(fmt::format("{}: no such file or folder, and no model of that name in the local cache ({})",
                              printable(path_or_name), hub_root().string()));
  }
  throw IoError(fmt::format("{}: no such file or folder", printable(path_or_name)));
}

}  // namespace genkit::io

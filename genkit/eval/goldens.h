#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace genkit::eval {

/// What `mlxgk goldens DIR` is asked for.
struct GoldensOptions {
  std::filesystem::path dir;      ///< holds NAME.json files and models/*/forward.json
  std::vector<std::string> only;  ///< names of formats to run; empty: all that are found
  std::filesystem::path weights;  ///< GGUF of the real-model sets
};

struct GoldensSummary {
  size_t passed = 0;
  size_t failed = 0;
};

/// Runs every case of every recorded set in a folder through the public interfaces and compares
/// every field. What the library does not support is a failure with its message.
/// Writes failures, a line a file, and as the last line "N passed, N failed".
/// @throws IoError when `dir` cannot be read; ArgumentError for a name in `only` that no format has
///         or that is not in the folder.
GoldensSummary run_goldens(const GoldensOptions& options, std::ostream& out);

/// The names `only` accepts, in the order they run.
std::vector<std::string> golden_format_names();

}  // namespace genkit::eval

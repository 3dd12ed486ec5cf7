#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/options.h"
#include "genkit/generate/generation_config.h"

namespace genkit::cli {

/// The command line's form of the generation options: a flag for every row of the library's field
/// table, "--top-p" for `top_p`, with its aliases, help and range.
class GenerationFlags {
 public:
  void add_to(Options& options);
  /// Options of --generation-config, then those of the command line over them. @throws ArgumentError.
  generate::GenerationConfig config() const;
  /// Whether any of them was given.
  bool given() const;

 private:
  std::map<std::string, std::vector<std::string>> values_;  ///< by the field's name, as typed
  std::string file_;
};

}  // namespace genkit::cli

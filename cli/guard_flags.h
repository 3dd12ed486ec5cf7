#pragma once

#include <string>
#include <vector>

#include "cli/options.h"
#include "genkit/steering/guard.h"

namespace genkit::cli {

/// --avoid-identical, --resample-suspect and --suspect-pattern.
class GuardFlags {
 public:
  void add_to(Options& options);
  /// @throws UsageError naming the option.
  steering::GuardOptions options() const;

 private:
  std::vector<std::string> patterns_;
  bool avoid_identical_ = false, resample_suspect_ = false;
};

}  // namespace genkit::cli

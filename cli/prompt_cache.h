#pragma once

#include <memory>
#include <string>

#include "cli/options.h"
#include "genkit/generate/generate.h"
#include "genkit/generate/prefix_store.h"

namespace genkit::cli {

/// --prompt-cache and --prompt-cache-save: keys and values of a row in a file.
class PromptCacheFlags {
 public:
  void add_to(Options& options);
  bool given() const { return !file_.empty(); }

  /// What the file holds, for the rows of a request; null where no file was named.
  /// @throws UsageError for what cannot be; what load_prefix() throws; IoError where the file could not be
  ///         written in the end.
  std::shared_ptr<generate::PrefixStore> open(const models::Model& model,
                                              const generate::GenerationRequest& request) const;
  /// @throws UsageError where a row is to be saved, though `other` runs a prompt several times.
  void refuse_save(const std::string& other) const;
  /// Writes the row that ended last, where that was asked for.
  void save(const generate::PrefixStore* store) const;

 private:
  /// Refuses a row that the prompts begin with and that was steered otherwise from its first position on.
  void check_steering(const generate::KeptPrefix& kept, const models::Model& model,
                      const generate::GenerationRequest& request) const;

  std::string file_;
  bool save_ = false;
};

}  // namespace genkit::cli

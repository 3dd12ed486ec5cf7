#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "genkit/base/json_reader.h"
#include "genkit/steering/hooks.h"
#include "genkit/steering/vector_set.h"

namespace genkit::steering {

/// One act of steering in words: what the command line and a line of a JSONL batch say.
struct SteerSpec {
  std::string file;          ///< of vectors, @see read_vectors()
  std::optional<int> layer;  ///< nothing: the file's only or suggested block
  double alpha = 1;
  std::string schedule = "constant";  ///< @see Schedule::parse
  std::string mode = "add";           ///< add, add-keep-norm, project, ablate or logit-bias
  std::string positions = "all";      ///< @see Positions::parse
  std::optional<std::string> unit;    ///< absolute, residual or recorded; nothing: the file's
  /// "FILE:>0.2" or "FILE:<0.2": only where the cosine with that file's vector is above or below.
  std::optional<std::string> condition;
  std::string fallback = "logit-bias";  ///< or "fail": where the model does not show its blocks
  std::string where = "--steer";        ///< what messages call it

  /// {"file": "happy.safetensors", "layer": -3, "alpha": 1.2, "schedule": "warmup:8", ...}, or a list
  /// of such objects; an empty list: no steering.
  /// @throws ArgumentError naming `where` and the field.
  static std::vector<SteerSpec> from_json(const JsonView& json);
};

/// Makes hooks of specifications, reading each file once.
class HookMaker {
 public:
  /// @param any_model take vectors that were made with another model; @see check_fits().
  explicit HookMaker(const models::Model& model, bool any_model = false)
      : model_(model), any_model_(any_model) {}

  /// @param rows the rows of a batch that the hook is for; nothing: all.
  /// @throws IoError, FormatError for the file; ArgumentError naming the specification and the field.
  std::shared_ptr<SteeringHook> make(const SteerSpec& spec,
                                     const std::optional<std::set<int64_t>>& rows = {});
  /// A hook for every specification, in their order.
  SteeringSet make_all(std::span<const SteerSpec> specs, const std::optional<std::set<int64_t>>& rows = {});

 private:
  const VectorSet& read(const std::string& file);
  /// The block that a file's vector is for, from 0.
  int block_of(const VectorSet& set, const SteerSpec& spec) const;
  Condition condition(const SteerSpec& spec, int block);

  const models::Model& model_;
  bool any_model_;
  std::map<std::string, VectorSet> files_;
};

}  // namespace genkit::steering

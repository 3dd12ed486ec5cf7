#pragma once

#include <string>

#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/nn/linear.h"
#include "genkit/nn/norm.h"

namespace genkit::models {

/// Takes a model's weights out of a checkpoint, below a prefix of names. Shapes are checked by the
/// checkpoint; every method throws FormatError naming the tensor.
class WeightReader {
 public:
  WeightReader(io::Checkpoint& checkpoint, const LoadOptions& options, std::string prefix = "")
      : checkpoint_(&checkpoint), options_(options), prefix_(std::move(prefix)) {}

  WeightReader at(const std::string& name) const { return {*checkpoint_, options_, prefix_ + name + "."}; }
  WeightReader at(const std::string& name, int index) const { return at(name + "." + std::to_string(index)); }
  bool has(const std::string& name) const { return checkpoint_->has(prefix_ + name); }
  const std::string& prefix() const { return prefix_; }
  io::Checkpoint& checkpoint() const { return *checkpoint_; }
  const LoadOptions& options() const { return options_; }

  ops::Weight matrix(const std::string& name, int out, int in) const;
  mx::array vector(const std::string& name, int size) const;
  /// NAME.weight [out, in] and, with `bias`, NAME.bias [out].
  nn::Linear linear(const std::string& name, int out, int in, bool bias = false) const;
  /// @param pattern with "{}" for the expert's number. @see io::Checkpoint::take_experts.
  ops::Weight experts(const std::string& pattern, int count, int out, int in) const;
  nn::Norm rms_norm(const std::string& name, int size, double eps, float offset = 0.0f) const;
  nn::Norm layer_norm(const std::string& name, int size, double eps, bool bias) const;

 private:
  ops::Weight for_products(ops::Weight w) const;

  io::Checkpoint* checkpoint_;
  LoadOptions options_;
  std::string prefix_;
};

}  // namespace genkit::models

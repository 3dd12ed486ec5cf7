#pragma once

#include <optional>
#include <string>
#include <vector>

namespace genkit::io {

/// Turns the names of a folder's tensors into those that models ask for. Which rules apply is
/// decided by looking at all names of the folder once.
class HfNames {
 public:
  /// @param model_type config.json's, or that of its text_config.
  HfNames(const std::string& model_type, const std::vector<std::string>& names);

  /// Nothing for tensors that no model needs: rotary tables, causal masks, towers for images.
  std::optional<std::string> canonical(const std::string& name) const;

 private:
  std::string prefix_;    ///< put in front of every name
  bool mixtral_ = false;  ///< experts below block_sparse_moe, called w1, w2, w3
  bool gpt_neox_ = false;
  bool gpt2_ = false;
  bool text_inside_ = false;  ///< the folder holds other models beside the language model
};

}  // namespace genkit::io

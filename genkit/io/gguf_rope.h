#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "genkit/io/gguf_set.h"

namespace genkit::io {

/// Rope scaling as GGUF says it (keys below "ARCH.rope.scaling." and tensors of factors), as
/// transformers' `rope_scaling`.
class GgufRope {
 public:
  /// @param prefix "llama."; @param rotated numbers of a head that are rotated.
  /// @param config what is known of config.json so far: rope_theta, max_position_embeddings.
  GgufRope(const GgufSet& set, std::string prefix, int rotated, const nlohmann::json& config)
      : set_(set), file_(set.metadata()), prefix_(std::move(prefix)), rotated_(rotated), config_(config) {}

  /// `rope_scaling`, or null for plain rope.
  /// @throws FormatError for types and parameters that are not understood.
  nlohmann::json scaling() const;

 private:
  std::string key(std::string_view name) const { return prefix_ + "rope.scaling." + std::string(name); }
  std::optional<double> number(std::string_view name) const;
  nlohmann::json from_type() const;
  nlohmann::json yarn() const;
  nlohmann::json long_and_short() const;
  nlohmann::json from_frequencies() const;
  std::vector<double> factors(std::string_view tensor) const;

  const GgufSet& set_;
  const GgufFile& file_;
  std::string prefix_;
  int rotated_;
  const nlohmann::json& config_;
};

}  // namespace genkit::io

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "genkit/steering/vector.h"

namespace genkit::steering {

/// Vectors and soft prompts by name, that hooks may refer to by their key: what a hook adds follows
/// the store when it changes. Not to be changed while a forward pass runs.
class VectorStore {
 public:
  /// Puts a vector under its key, in place of an older one; its name becomes the key.
  /// @throws ArgumentError for an empty key, and as checked().
  void set(const std::string& key, SteeringVector vector);
  /// Virtual tokens under a key. @param embeddings [tokens, hidden], kept in float32.
  /// @throws ArgumentError naming the key where the shape is another or a number is not finite.
  void set_soft_prompt(const std::string& key, const mx::array& embeddings);
  bool erase(const std::string& key);

  bool has(const std::string& key) const { return vectors_.contains(key) || prompts_.contains(key); }
  /// @throws ArgumentError naming the key and the nearest there is.
  const SteeringVector& vector(const std::string& key) const;
  const mx::array& soft_prompt(const std::string& key) const;
  std::vector<std::string> keys() const;
  /// Another number after every change: for what is computed from a vector and kept.
  uint64_t version() const { return version_; }

  /// One safetensors file with all of them: a tensor a key, and its description as JSON in the
  /// metadata under "genkit.steering.KEY". The file appears whole or not at all.
  /// @throws IoError naming the path.
  void save(const std::filesystem::path& path) const;
  /// @throws IoError; FormatError naming the file, the key and the field.
  static VectorStore load(const std::filesystem::path& path);

 private:
  std::map<std::string, SteeringVector> vectors_;
  std::map<std::string, mx::array> prompts_;
  uint64_t version_ = 0;
};

/// What a hook is given: a vector, or a store and a key that is looked up whenever it is needed.
class VectorRef {
 public:
  /*implicit*/ VectorRef(SteeringVector vector);
  /*implicit*/ VectorRef(const mx::array& values) : VectorRef(make_vector("", values)) {}
  VectorRef(std::shared_ptr<const VectorStore> store, std::string param_key);

  /// @throws ArgumentError where the store has no such vector.
  const SteeringVector& get() const;
  /// Changes when get() may give another vector.
  uint64_t version() const { return store_ ? store_->version() : 0; }

 private:
  std::shared_ptr<const SteeringVector> vector_;  ///< null: by key
  std::shared_ptr<const VectorStore> store_;
  std::string key_;
};

}  // namespace genkit::steering

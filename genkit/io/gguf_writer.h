#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genkit::io {

/// Writes a GGUF file (version 3, little-endian, alignment 32): metadata and fp32 tensors, in the order
/// in which they were added.
///
///   GgufWriter writer;
///   writer.add_string("general.architecture", "controlvector");
///   writer.add_tensor("direction.1", {640}, values);
///   writer.write("vector.gguf");
class GgufWriter {
 public:
  void add_string(std::string_view key, std::string_view value);
  void add_int32(std::string_view key, int32_t value);
  void add_uint32(std::string_view key, uint32_t value);
  void add_float32(std::string_view key, float value);
  /// @param shape outermost first. @param values as many; copied.
  /// @throws ArgumentError naming the tensor when they are not, or the name was there before.
  void add_tensor(const std::string& name, const std::vector<int64_t>& shape, std::span<const float> values);

  /// The file appears whole or not at all. @throws IoError naming the path.
  void write(const std::filesystem::path& path) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  void begin_pair(std::string_view key, uint32_t type);
  std::string metadata_;  ///< encoded
  uint64_t pairs_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace genkit::io

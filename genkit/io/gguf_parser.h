#pragma once

#include "genkit/io/gguf_reader.h"

namespace genkit::io {

/// Reads the header of a GGUF file once from front to back. Every count is held against the bytes
/// that are left before anything is allocated by it.
class GgufParser {
 public:
  explicit GgufParser(GgufFile* out) : out_(*out), file_(*out->file_) {}
  /// @throws FormatError; the file's vectors are then in an unspecified state.
  void parse();

 private:
  template <typename T>
  T read(std::string_view field);
  std::string_view read_string(std::string_view field, std::string_view what);
  uint64_t read_count(std::string_view field, uint64_t smallest);
  GgufType read_type(std::string_view key);
  void need(uint64_t bytes, std::string_view field);
  void read_metadata();
  GgufValue read_value(std::string_view key, GgufType type);
  void skip_value(std::string_view key, GgufType type, int depth);
  void skip_elements(std::string_view key, GgufType element, uint64_t count, int depth);
  void read_tensor_info(uint64_t index);
  void read_shape(GgufTensor* tensor);
  void size_tensor(GgufTensor* tensor);
  void place_tensors();
  void check_overlap();

  GgufFile& out_;
  const MappedFile& file_;
  size_t position_ = 0;
  uint64_t alignment_ = 32;
  std::vector<uint64_t> offsets_;  // one a tensor, from the start of the data
};

/// A number of type T at any address, little-endian as every machine MLX runs on.
template <typename T>
T load_at(const uint8_t* data);

/// Bytes of a value of fixed size; 0 for strings and arrays.
size_t gguf_scalar_size(GgufType type);

/// "a string", "an array", "uint32"
std::string_view gguf_type_name(GgufType type);

}  // namespace genkit::io

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/io/mapped_file.h"
#include "genkit/kernels/weight_format.h"

namespace genkit::io {

/// Type codes of GGUF metadata values.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// Where a metadata value lies in the file. Already checked to lie inside it.
struct GgufValue {
  GgufType type = GgufType::kUint8;
  GgufType element = GgufType::kUint8;  ///< of a kArray
  uint64_t count = 1;                   ///< elements of a kArray
  const uint8_t* data = nullptr;        ///< the value; of an array, its first element
};

/// A tensor of a GGUF file. Its bytes lie in the mapping.
struct GgufTensor {
  std::string_view name;
  std::string_view type_name;          ///< as ggml spells it: "Q4_K", "IQ2_XXS"
  std::optional<WeightFormat> format;  ///< nothing: a type this library does not read
  std::vector<int64_t> shape;          ///< outermost first (the reverse of the file's order)
  const uint8_t* data = nullptr;       ///< null when the format is unknown
  size_t bytes = 0;
};

/// A parsed GGUF file, version 2 or 3, little-endian. Immutable, usable from several threads.
/// Strings are views into the mapping: they live as long as this object.
///
/// Getters without "find" throw FormatError "FILE: KEY: missing"; all of them throw
/// "FILE: KEY: expected an integer, got a string" when the value has another type.
class GgufFile {
 public:
  /// @throws IoError when the file cannot be read; FormatError naming file and field when it is no
  ///         GGUF file, is of another version or big-endian, is cut short, holds counts, lengths
  ///         or offsets that do not fit its size, or a name twice.
  static std::shared_ptr<const GgufFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }
  uint32_t version() const { return version_; }

  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  bool has(std::string_view key) const { return metadata_.count(key) != 0; }
  bool is_array(std::string_view key) const;

  std::string_view string(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  /// Any integer type whose value fits.
  int64_t integer(std::string_view key) const;
  std::optional<int64_t> find_integer(std::string_view key) const;
  /// Any floating or integer type.
  double number(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;

  /// Arrays; "find" gives nothing when the key is absent.
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  /// Integers and booleans (as 0 and 1).
  std::optional<std::vector<int64_t>> find_integers(std::string_view key) const;
  std::optional<std::vector<double>> find_numbers(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// Nothing when there is no tensor of that name.
  const GgufTensor* find_tensor(std::string_view name) const;

  /// FormatError "FILE: FIELD: MESSAGE", for those who interpret the metadata.
  [[noreturn]] void fail(std::string_view field, std::string_view message) const;

 private:
  friend class GgufParser;
  GgufFile() = default;
  const GgufValue* find(std::string_view key) const;
  [[noreturn]] void fail_missing(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected, const GgufValue& got) const;

  std::shared_ptr<const MappedFile> file_;
  uint32_t version_ = 0;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> tensor_index_;
};

}  // namespace genkit::io

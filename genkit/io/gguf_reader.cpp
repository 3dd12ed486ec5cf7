#include "genkit/io/gguf_reader.h"

#include <fmt/format.h>

#include <limits>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/gguf_parser.h"

namespace genkit::io {
namespace {

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kUint16:
    case GgufType::kInt16:
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kUint64:
    case GgufType::kInt64:
      return true;
    default:
      return false;
  }
}

bool is_number(GgufType type) {
  return is_integer(type) || type == GgufType::kFloat32 || type == GgufType::kFloat64;
}

// Nothing when the value exceeds int64.
std::optional<int64_t> integer_at(GgufType type, const uint8_t* data) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kBool:
      return load_at<uint8_t>(data);
    case GgufType::kInt8:
      return load_at<int8_t>(data);
    case GgufType::kUint16:
      return load_at<uint16_t>(data);
    case GgufType::kInt16:
      return load_at<int16_t>(data);
    case GgufType::kUint32:
      return load_at<uint32_t>(data);
    case GgufType::kInt32:
      return load_at<int32_t>(data);
    case GgufType::kInt64:
      return load_at<int64_t>(data);
    default:
      break;
  }
  const auto value = load_at<uint64_t>(data);
  if (value > uint64_t(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return int64_t(value);
}

double number_at(GgufType type, const uint8_t* data) {
  switch (type) {
    case GgufType::kFloat32:
      return load_at<float>(data);
    case GgufType::kFloat64:
      return load_at<double>(data);
    case GgufType::kUint64:
      return double(load_at<uint64_t>(data));
    default:
      return double(*integer_at(type, data));
  }
}

std::string_view string_at(const uint8_t* data) {
  return {reinterpret_cast<const char*>(data + 8), size_t(load_at<uint64_t>(data))};
}

}  // namespace

std::shared_ptr<const GgufFile> GgufFile::open(const std::filesystem::path& path) {
  std::shared_ptr<GgufFile> gguf(new GgufFile);
  gguf->file_ = MappedFile::open(path);
  GgufParser(gguf.get()).parse();
  return gguf;
}

void GgufFile::fail(std::string_view field, std::string_view message) const {
  throw FormatError(fmt::format("{}: {}: {}", path().string(), printable(field), message));
}

void GgufFile::fail_missing(std::string_view key) const { fail(key, "missing"); }

void GgufFile::fail_type(std::string_view key, std::string_view expected, const GgufValue& got) const {
  if (got.type == GgufType::kArray && got.element != GgufType::kArray) {
    std::string_view element = gguf_type_name(got.element);
    element.remove_prefix(element.find(' ') + 1);
    fail(key, fmt::format("expected {}, got an array of {}s", expected, element));
  }
  fail(key, fmt::format("expected {}, got {}", expected, gguf_type_name(got.type)));
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

bool GgufFile::is_array(std::string_view key) const {
  const GgufValue* value = find(key);
  return value != nullptr && value->type == GgufType::kArray;
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kString) fail_type(key, "a string", *value);
  return string_at(value->data);
}

std::string_view GgufFile::string(std::string_view key) const {
  const auto value = find_string(key);
  if (!value) fail_missing(key);
  return *value;
}

std::optional<int64_t> GgufFile::find_integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!is_integer(value->type)) fail_type(key, "an integer", *value);
  const auto integer = integer_at(value->type, value->data);
  if (!integer) fail(key, "the number is too large");
  return integer;
}

int64_t GgufFile::integer(std::string_view key) const {
  const auto value = find_integer(key);
  if (!value) fail_missing(key);
  return *value;
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!is_number(value->type)) fail_type(key, "a number", *value);
  return number_at(value->type, value->data);
}

double GgufFile::number(std::string_view key) const {
  const auto value = find_number(key);
  if (!value) fail_missing(key);
  return *value;
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kBool) fail_type(key, "a bool", *value);
  return *value->data != 0;
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kArray || value->element != GgufType::kString) {
    fail_type(key, "an array of strings", *value);
  }
  std::vector<std::string_view> strings;
  strings.reserve(size_t(value->count));
  const uint8_t* at = value->data;
  for (uint64_t i = 0; i < value->count; ++i) {
    strings.push_back(string_at(at));
    at += 8 + strings.back().size();
  }
  return strings;
}

std::optional<std::vector<int64_t>> GgufFile::find_integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kArray || !(is_integer(value->element) || value->element == GgufType::kBool)) {
    fail_type(key, "an array of integers", *value);
  }
  std::vector<int64_t> integers;
  integers.reserve(size_t(value->count));
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto integer = integer_at(value->element, value->data + i * gguf_scalar_size(value->element));
    if (!integer) fail(key, fmt::format("number {} is too large", i));
    integers.push_back(*integer);
  }
  return integers;
}

std::optional<std::vector<double>> GgufFile::find_numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kArray || !is_number(value->element)) {
    fail_type(key, "an array of numbers", *value);
  }
  std::vector<double> numbers;
  numbers.reserve(size_t(value->count));
  for (uint64_t i = 0; i < value->count; ++i) {
    numbers.push_back(number_at(value->element, value->data + i * gguf_scalar_size(value->element)));
  }
  return numbers;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace genkit::io

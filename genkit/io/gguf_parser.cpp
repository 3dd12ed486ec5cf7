#include "genkit/io/gguf_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/kernels/dequantize.h"

namespace genkit::io {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kMaxDimension = uint64_t(std::numeric_limits<int32_t>::max());  // MLX's shapes
// Smallest entries: an empty key, its type and one byte; an empty name, one dimension, type, offset.
constexpr uint64_t kSmallestPair = 8 + 4 + 1;
constexpr uint64_t kSmallestTensorInfo = 8 + 4 + 8 + 4 + 8;

struct TypeRow {
  uint32_t code;
  std::string_view name;
};

// ggml_type of ggml.h; the codes missing here were withdrawn.
constexpr std::array<TypeRow, 34> kTypes{{
    {0, "F32"},     {1, "F16"},    {2, "Q4_0"},     {3, "Q4_1"},    {6, "Q5_0"},     {7, "Q5_1"},
    {8, "Q8_0"},    {9, "Q8_1"},   {10, "Q2_K"},    {11, "Q3_K"},   {12, "Q4_K"},    {13, "Q5_K"},
    {14, "Q6_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},
    {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {30, "BF16"},    {34, "TQ1_0"},
    {35, "TQ2_0"},  {39, "MXFP4"}, {40, "NVFP4"},   {41, "Q1_0"},
}};

std::string_view type_name_of(uint32_t code) {
  for (const TypeRow& row : kTypes) {
    if (row.code == code) return row.name;
  }
  return {};
}

}  // namespace

template <typename T>
T load_at(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}
template uint8_t load_at(const uint8_t*);
template int8_t load_at(const uint8_t*);
template uint16_t load_at(const uint8_t*);
template int16_t load_at(const uint8_t*);
template uint32_t load_at(const uint8_t*);
template int32_t load_at(const uint8_t*);
template uint64_t load_at(const uint8_t*);
template int64_t load_at(const uint8_t*);
template float load_at(const uint8_t*);
template double load_at(const uint8_t*);

size_t gguf_scalar_size(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string_view gguf_type_name(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames{
      "a uint8", "an int8",  "a uint16", "an int16", "a uint32", "an int32", "a float32",
      "a bool",  "a string", "an array", "a uint64", "an int64", "a float64"};
  return kNames[size_t(type)];
}

void GgufParser::need(uint64_t bytes, std::string_view field) {
  if (bytes > file_.size() - position_) {
    out_.fail(field, fmt::format("the file ends at byte {}, {} bytes are needed from byte {}", file_.size(),
                                 bytes, position_));
  }
}

template <typename T>
T GgufParser::read(std::string_view field) {
  need(sizeof(T), field);
  const T value = load_at<T>(file_.data() + position_);
  position_ += sizeof(T);
  return value;
}

std::string_view GgufParser::read_string(std::string_view field, std::string_view what) {
  const auto length = read<uint64_t>(field);
  if (length > file_.size() - position_) {
    out_.fail(field, fmt::format("{} of {} bytes, but the file has {} left", what, length,
                                 file_.size() - position_));
  }
  const std::string_view text(reinterpret_cast<const char*>(file_.data() + position_), size_t(length));
  position_ += size_t(length);
  return text;
}

uint64_t GgufParser::read_count(std::string_view field, uint64_t smallest) {
  const auto count = read<uint64_t>(field);
  if (count > file_.size() / smallest) {
    out_.fail(field, fmt::format("{} entries do not fit into a file of {} bytes", count, file_.size()));
  }
  return count;
}

GgufType GgufParser::read_type(std::string_view key) {
  const auto code = read<uint32_t>(key);
  if (code > uint32_t(GgufType::kFloat64)) out_.fail(key, fmt::format("unknown value type {}", code));
  return GgufType(code);
}

void GgufParser::parse() {
  need(4, "magic");
  if (std::memcmp(file_.data(), "GGUF", 4) != 0) {
    const std::string_view found(reinterpret_cast<const char*>(file_.data()), 4);
    out_.fail("magic", fmt::format("expected \"GGUF\", got \"{}\"", printable(found)));
  }
  position_ = 4;
  out_.version_ = read<uint32_t>("version");
  if ((out_.version_ & 0xffff) == 0 && out_.version_ != 0) {
    out_.fail("version", "the file is big-endian; only little-endian GGUF files are read");
  }
  if (out_.version_ != 2 && out_.version_ != 3) {
    out_.fail("version", fmt::format("expected 2 or 3, got {}", out_.version_));
  }
  const uint64_t tensors = read_count("tensor_count", kSmallestTensorInfo);
  const uint64_t pairs = read_count("metadata_kv_count", kSmallestPair);
  for (uint64_t i = 0; i < pairs; ++i) read_metadata();
  if (const auto alignment = out_.find_integer("general.alignment")) {
    if (*alignment < 1 || *alignment > (1 << 24) || !std::has_single_bit(uint64_t(*alignment))) {
      out_.fail("general.alignment", fmt::format("expected a power of two, got {}", *alignment));
    }
    alignment_ = uint64_t(*alignment);
  }
  for (uint64_t i = 0; i < tensors; ++i) read_tensor_info(i);
  place_tensors();
}

void GgufParser::read_metadata() {
  const std::string_view key = read_string("metadata key", "a key");
  const GgufType type = read_type(key);
  const GgufValue value = read_value(key, type);
  if (!out_.metadata_.emplace(key, value).second) out_.fail(key, "the key occurs twice");
}

GgufValue GgufParser::read_value(std::string_view key, GgufType type) {
  GgufValue value;
  value.type = type;
  value.data = file_.data() + position_;
  if (type != GgufType::kArray) {
    skip_value(key, type, 0);
    return value;
  }
  value.element = read_type(key);
  value.count = read<uint64_t>(key);
  value.data = file_.data() + position_;
  skip_elements(key, value.element, value.count, 1);
  return value;
}

void GgufParser::skip_value(std::string_view key, GgufType type, int depth) {
  if (type == GgufType::kString) {
    read_string(key, "a string");
  } else if (type == GgufType::kArray) {
    const GgufType element = read_type(key);
    const auto count = read<uint64_t>(key);
    skip_elements(key, element, count, depth + 1);
  } else {
    need(gguf_scalar_size(type), key);
    if (type == GgufType::kBool && file_.data()[position_] > 1) {
      out_.fail(key, fmt::format("expected a bool of 0 or 1, got {}", file_.data()[position_]));
    }
    position_ += gguf_scalar_size(type);
  }
}

void GgufParser::skip_elements(std::string_view key, GgufType element, uint64_t count, int depth) {
  if (depth > kMaxArrayDepth) {
    out_.fail(key, fmt::format("arrays nested more than {} deep", kMaxArrayDepth));
  }
  const size_t size = gguf_scalar_size(element);
  const size_t smallest = size != 0 ? size : element == GgufType::kString ? 8 : 12;
  if (count > (file_.size() - position_) / smallest) {
    out_.fail(key, fmt::format("an array of {} elements, but the file has {} bytes left", count,
                               file_.size() - position_));
  }
  if (size != 0 && element != GgufType::kBool) {
    position_ += size_t(count) * size;
    return;
  }
  for (uint64_t i = 0; i < count; ++i) skip_value(key, element, depth);
}

void GgufParser::read_tensor_info(uint64_t index) {
  const std::string field = fmt::format("tensor {}", index);
  GgufTensor tensor;
  tensor.name = read_string(field, "a name");
  read_shape(&tensor);
  const auto code = read<uint32_t>(tensor.name);
  tensor.type_name = type_name_of(code);
  if (tensor.type_name.empty()) out_.fail(tensor.name, fmt::format("unknown tensor type {}", code));
  tensor.format = weight_format_from_name(tensor.type_name);
  offsets_.push_back(read<uint64_t>(tensor.name));
  size_tensor(&tensor);
  if (!out_.tensor_index_.emplace(tensor.name, out_.tensors_.size()).second) {
    out_.fail(tensor.name, "two tensors have this name");
  }
  out_.tensors_.push_back(std::move(tensor));
}

void GgufParser::read_shape(GgufTensor* tensor) {
  const auto dimensions = read<uint32_t>(tensor->name);
  if (dimensions < 1 || dimensions > 4) {
    out_.fail(tensor->name, fmt::format("expected 1 to 4 dimensions, got {}", dimensions));
  }
  for (uint32_t d = 0; d < dimensions; ++d) {
    const auto extent = read<uint64_t>(tensor->name);
    if (extent < 1 || extent > kMaxDimension) {
      out_.fail(tensor->name, fmt::format("dimension {} is {}, expected 1 to {}", d, extent, kMaxDimension));
    }
    tensor->shape.insert(tensor->shape.begin(), int64_t(extent));
  }
}

void GgufParser::size_tensor(GgufTensor* tensor) {
  if (!tensor->format) return;
  const FormatTraits& t = traits(*tensor->format);
  if (tensor->shape.back() % t.block_values != 0) {
    out_.fail(tensor->name, fmt::format("rows of {} numbers are no whole number of {} blocks of {}",
                                        tensor->shape.back(), t.name, t.block_values));
  }
  uint64_t bytes = row_bytes(*tensor->format, tensor->shape.back());
  if (is_quantized(*tensor->format) && bytes > kMaxDimension) {
    out_.fail(tensor->name, fmt::format("rows of {} bytes, more than {}", bytes, kMaxDimension));
  }
  for (size_t d = 0; d + 1 < tensor->shape.size(); ++d) {
    if (bytes > file_.size() / uint64_t(tensor->shape[d])) {
      out_.fail(tensor->name, fmt::format("shape [{}] of {} does not fit into a file of {} bytes",
                                          fmt::join(tensor->shape, ", "), t.name, file_.size()));
    }
    bytes *= uint64_t(tensor->shape[d]);
  }
  tensor->bytes = size_t(bytes);
}

void GgufParser::place_tensors() {
  const uint64_t start = (uint64_t(position_) + alignment_ - 1) / alignment_ * alignment_;
  for (size_t i = 0; i < out_.tensors_.size(); ++i) {
    GgufTensor& tensor = out_.tensors_[i];
    if (!tensor.format) continue;
    if (offsets_[i] % alignment_ != 0) {
      out_.fail(tensor.name,
                fmt::format("offset {} is no multiple of the alignment {}", offsets_[i], alignment_));
    }
    const uint64_t available = file_.size() > start ? file_.size() - start : 0;
    if (offsets_[i] > available || tensor.bytes > available - offsets_[i]) {
      out_.fail(tensor.name, fmt::format("{} bytes at offset {} lie outside the {} bytes of tensor data",
                                         tensor.bytes, offsets_[i], available));
    }
    tensor.data = file_.data() + start + offsets_[i];
  }
  check_overlap();
}

void GgufParser::check_overlap() {
  std::vector<const GgufTensor*> order;
  for (const GgufTensor& tensor : out_.tensors_) {
    if (tensor.format) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->data < b->data; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->data < order[i - 1]->data + order[i - 1]->bytes) {
      out_.fail(order[i]->name, fmt::format("overlaps {} in the file", printable(order[i - 1]->name)));
    }
  }
}

}  // namespace genkit::io

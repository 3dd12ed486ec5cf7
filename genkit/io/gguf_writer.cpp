#include "genkit/io/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/atomic_file.h"
#include "genkit/io/gguf_reader.h"

namespace genkit::io {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kAlignment = 32;  // what readers assume where general.alignment is not there
constexpr uint32_t kF32 = 0;         // ggml_type
constexpr size_t kMaxDimensions = 4;

template <class T>
void append(std::string* out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out->append(bytes, sizeof value);
}

void append_text(std::string* out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out->append(text);
}

uint64_t aligned(uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void GgufWriter::begin_pair(std::string_view key, uint32_t type) {
  append_text(&metadata_, key);
  append(&metadata_, type);
  ++pairs_;
}

void GgufWriter::add_string(std::string_view key, std::string_view value) {
  begin_pair(key, static_cast<uint32_t>(GgufType::kString));
  append_text(&metadata_, value);
}

void GgufWriter::add_int32(std::string_view key, int32_t value) {
  begin_pair(key, static_cast<uint32_t>(GgufType::kInt32));
  append(&metadata_, value);
}

void GgufWriter::add_uint32(std::string_view key, uint32_t value) {
  begin_pair(key, static_cast<uint32_t>(GgufType::kUint32));
  append(&metadata_, value);
}

void GgufWriter::add_float32(std::string_view key, float value) {
  begin_pair(key, static_cast<uint32_t>(GgufType::kFloat32));
  append(&metadata_, value);
}

void GgufWriter::add_tensor(const std::string& name, const std::vector<int64_t>& shape,
                            std::span<const float> values) {
  const auto fail = [&](const std::string& what) {
    throw ArgumentError(fmt::format("{}: {}", printable(name), what));
  };
  if (shape.empty() || shape.size() > kMaxDimensions) fail("GGUF tensors have one to four dimensions");
  uint64_t count = 1;
  for (const int64_t extent : shape) {
    if (extent <= 0) fail("an empty dimension");
    if (count > values.size()) break;  // what follows can only be larger
    count *= static_cast<uint64_t>(extent);
  }
  if (count != values.size()) fail(fmt::format("{} numbers do not fit the shape", values.size()));
  if (std::any_of(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.name == name; })) {
    fail("there is a tensor of that name");
  }
  tensors_.push_back({name, shape, {values.begin(), values.end()}});
}

void GgufWriter::write(const std::filesystem::path& path) const {
  std::string header = "GGUF";
  append<uint32_t>(&header, 3);
  append<uint64_t>(&header, tensors_.size());
  append<uint64_t>(&header, pairs_);
  header += metadata_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    append_text(&header, tensor.name);
    append<uint32_t>(&header, static_cast<uint32_t>(tensor.shape.size()));
    // The file counts dimensions from the innermost.
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      append<uint64_t>(&header, static_cast<uint64_t>(*extent));
    }
    append(&header, kF32);
    append(&header, offset);
    offset = aligned(offset + tensor.values.size() * sizeof(float));
  }
  header.resize(aligned(header.size()), '\0');
  AtomicFile file(path);
  file.write(header);
  for (const Tensor& tensor : tensors_) {
    const size_t bytes = tensor.values.size() * sizeof(float);
    file.write({reinterpret_cast<const char*>(tensor.values.data()), bytes});
    file.write(std::string(aligned(bytes) - bytes, '\0'));
  }
  file.commit();
}

}  // namespace genkit::io

#include "genkit/io/safetensors.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/nearest.h"
#include "genkit/io/atomic_file.h"
#include "genkit/io/mapped_array.h"

namespace genkit::io {
namespace {

namespace mx = mlx::core;
using nlohmann::json;

constexpr size_t kMaxHeader = 100'000'000;  // as the reference implementation has it

struct DtypeRow {
  std::string_view name;
  mx::Dtype dtype;
};

const std::array<DtypeRow, 13> kDtypes{{
    {"F64", mx::float64},
    {"F32", mx::float32},
    {"F16", mx::float16},
    {"BF16", mx::bfloat16},
    {"I64", mx::int64},
    {"I32", mx::int32},
    {"I16", mx::int16},
    {"I8", mx::int8},
    {"U64", mx::uint64},
    {"U32", mx::uint32},
    {"U16", mx::uint16},
    {"U8", mx::uint8},
    {"BOOL", mx::bool_},
}};

const DtypeRow* find_dtype(std::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string_view name_of(mx::Dtype dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.dtype == dtype) return row.name;
  }
  return {};
}

}  // namespace

class SafetensorsParser {
 public:
  explicit SafetensorsParser(SafetensorsFile* out) : out_(*out), file_(*out->file_) {}

  void parse() {
    const json header = read_header();
    const JsonView view(header, file_.path().string());
    if (!view.is_object()) view.fail_expected("an object");
    view.for_each([this](const std::string& name, const JsonView& value) {
      if (name == "__metadata__") {
        if (value.is_null()) return;  // how mlx::core::save_safetensors writes that there is none
        value.for_each(
            [this](const std::string& key, const JsonView& text) { out_.metadata_[key] = text.string(); });
      } else {
        read_entry(name, value);
      }
    });
    check_layout();
  }

 private:
  [[noreturn]] void fail(std::string_view field, const std::string& message) const {
    throw FormatError(fmt::format("{}: {}: {}", file_.path().string(), printable(field), message));
  }

  json read_header() {
    if (file_.size() < 8) {
      fail("header",
           fmt::format("the file has {} bytes, less than the 8 of the header's size", file_.size()));
    }
    uint64_t size;
    std::memcpy(&size, file_.data(), 8);
    if (size > file_.size() - 8) {
      fail("header", fmt::format("a size of {} bytes, but the file has {}", size, file_.size()));
    }
    if (size > kMaxHeader) fail("header", fmt::format("{} bytes are more than {}", size, kMaxHeader));
    start_ = 8 + size_t(size);
    JsonLimits limits;
    limits.max_bytes = kMaxHeader;
    limits.max_depth = 8;
    const std::string_view text(reinterpret_cast<const char*>(file_.data()) + 8, size_t(size));
    return parse_json(text, file_.path().string() + ": header", limits);
  }

  void read_entry(const std::string& name, const JsonView& value) {
    SafetensorsEntry entry;
    const std::string dtype = value.at("dtype").string();
    const DtypeRow* row = find_dtype(dtype);
    if (row == nullptr) fail(name, fmt::format("dtype {} is not supported", printable(dtype)));
    entry.dtype = row->dtype;
    const auto extents = value.at("shape").integers<int32_t>(0);
    entry.shape = mx::Shape(extents.begin(), extents.end());
    const auto offsets = value.at("data_offsets").integers<uint64_t>();
    const uint64_t available = file_.size() - start_;
    if (offsets.size() != 2 || offsets[0] > offsets[1]) {
      fail(name, "data_offsets: expected the first and the end byte");
    }
    if (offsets[1] > available) {
      fail(name, fmt::format("data_offsets: [{}, {}] lie outside the {} bytes of tensor data", offsets[0],
                             offsets[1], available));
    }
    entry.data = file_.data() + start_ + offsets[0];
    entry.bytes = size_t(offsets[1] - offsets[0]);
    check_size(name, dtype, entry);
    if (entry.dtype == mx::bool_) check_bools(name, entry);
    out_.tensors_.emplace(name, std::move(entry));
  }

  void check_size(const std::string& name, const std::string& dtype, const SafetensorsEntry& entry) const {
    // Multiplied only while it stays below the file's size, so that it cannot overflow. A zero
    // anywhere makes the product zero, whatever the other extents.
    uint64_t bytes = entry.dtype.size();
    const bool empty = std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end();
    for (const auto extent : entry.shape) {
      if (empty || bytes > file_.size()) break;
      bytes *= uint64_t(extent);
    }
    if (empty) bytes = 0;
    if (bytes != entry.bytes) {
      fail(name, fmt::format("shape [{}] of {} does not fit its {} bytes",
                             fmt::join(entry.shape.begin(), entry.shape.end(), ", "), dtype, entry.bytes));
    }
  }

  void check_bools(const std::string& name, const SafetensorsEntry& entry) const {
    if (std::any_of(entry.data, entry.data + entry.bytes, [](uint8_t b) { return b > 1; })) {
      fail(name, "a BOOL other than 0 and 1");
    }
  }

  void check_layout() const {
    std::vector<std::pair<const std::string*, const SafetensorsEntry*>> order;
    for (const auto& [name, entry] : out_.tensors_) order.emplace_back(&name, &entry);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->data, a.second->bytes) < std::pair(b.second->data, b.second->bytes);
    });
    const uint8_t* end = file_.data() + start_;
    for (const auto& [name, entry] : order) {
      if (entry->data < end) fail(*name, "data_offsets: overlap another tensor");
      if (entry->data > end) fail(*name, "data_offsets: leave a hole before the tensor");
      end = entry->data + entry->bytes;
    }
    const auto left = file_.data() + file_.size() - end;
    if (left != 0) fail("header", fmt::format("{} bytes after the last tensor belong to none", left));
  }

  SafetensorsFile& out_;
  const MappedFile& file_;
  size_t start_ = 0;
};

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->file_ = MappedFile::open(path);
  SafetensorsParser(file.get()).parse();
  return file;
}

mx::array SafetensorsFile::array(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    throw FormatError(fmt::format("{}: {}: missing", path().string(), printable(name)));
  }
  return mapped_array(file_, it->second.data, it->second.shape, it->second.dtype);
}

std::map<std::string, mx::array> load_safetensors(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, mx::array> arrays;
  for (const auto& [name, entry] : file->tensors()) arrays.emplace(name, file->array(name));
  return arrays;
}

namespace {

using Item = std::pair<const std::string, mx::array>;

std::string header_of(const std::vector<const Item*>& items,
                      const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const Item* item : items) {
    const mx::array& a = item->second;
    const uint64_t end = offset + a.nbytes();
    header[item->first] = {{"dtype", name_of(a.dtype())},
                           {"shape", std::vector<int64_t>(a.shape().begin(), a.shape().end())},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw ArgumentError("tensors: a name or a metadata text is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, const std::map<std::string, mx::array>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const Item*> items;
  for (const Item& item : tensors) {
    if (item.first == "__metadata__") throw ArgumentError("tensors: __metadata__ is no tensor's name");
    if (name_of(item.second.dtype()).empty()) {
      throw ArgumentError(fmt::format("tensors: {}: safetensors has no complex numbers", item.first));
    }
    items.push_back(&item);
  }
  // Widest first: every tensor then lies at a multiple of its dtype's size.
  std::stable_sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
    return a->second.dtype().size() > b->second.dtype().size();
  });
  AtomicFile file(path);
  const std::string header = header_of(items, metadata);
  const uint64_t size = header.size();
  file.write({reinterpret_cast<const char*>(&size), sizeof size});
  file.write(header);
  for (const Item* item : items) {
    mx::array a = mx::contiguous(item->second);
    a.eval();
    if (a.size() != 0) file.write({a.data<char>(), a.nbytes()});
  }
  file.commit();
}

}  // namespace genkit::io

#include "genkit/steering/vector_file.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/nearest.h"
#include "genkit/io/gguf_reader.h"
#include "genkit/io/gguf_writer.h"
#include "genkit/io/mapped_file.h"
#include "genkit/io/safetensors.h"
#include "genkit/kernels/half.h"

namespace genkit::steering {

namespace {

constexpr std::string_view kPrefix = "direction.";
constexpr std::string_view kFormat = "mlx_genkit.steering_vectors";
constexpr std::string_view kConvention = "direction.N is of the output of decoder block N, counted from 0";
constexpr std::string_view kGgufPrefix = "mlx_genkit.";
constexpr int kMaxBlocks = 10'000;  // as config.json may say

/// The file that is being read, for messages.
class Complaints {
 public:
  explicit Complaints(std::string file) : file_(std::move(file)) {}
  [[noreturn]] void fail(std::string_view field, const std::string& what) const {
    throw FormatError(fmt::format("{}: {}: {}", file_, printable(field), what));
  }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
};

bool is_direction(std::string_view name) { return name.starts_with(kPrefix); }

int block_of(std::string_view name, const Complaints& at) {
  const std::string_view digits = name.substr(kPrefix.size());
  int block = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), block);
  const bool plain =
      !digits.empty() && digits.front() != '-' && (digits.size() == 1 || digits.front() != '0');
  if (error != std::errc() || end != digits.data() + digits.size() || !plain || block >= kMaxBlocks) {
    at.fail(name, "expected the number of a block after \"direction.\"");
  }
  return block;
}

void require_finite(std::span<const float> values, std::string_view name, const Complaints& at) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    at.fail(name, fmt::format("{} at index {}", std::isnan(values[i]) ? "NaN" : "an infinity", i));
  }
}

void add_direction(VectorSet* set, int block, std::vector<float> values, std::string_view name,
                   const Complaints& at) {
  if (values.empty()) at.fail(name, "is empty");
  if (set->hidden_size() != 0 && values.size() != static_cast<size_t>(set->hidden_size())) {
    at.fail(name, fmt::format("has {} numbers, direction.{} has {}", values.size(),
                              set->directions.begin()->first, set->hidden_size()));
  }
  require_finite(values, name, at);
  if (!set->directions.emplace(block, std::move(values)).second) {
    at.fail(name, "names a block that another tensor names");
  }
}

// ------------------------------------------------------------------ metadata, one text a key

using Texts = std::map<std::string, std::string>;

nlohmann::json report_json(const LayerReport& report) {
  nlohmann::json out = nlohmann::json::object();
  if (report.residual_norm) out["residual_norm"] = *report.residual_norm;
  if (report.explained_variance) out["explained_variance"] = *report.explained_variance;
  if (report.auc) out["auc"] = *report.auc;
  if (report.separation) out["separation"] = *report.separation;
  return out;
}

Texts metadata_of(const VectorSet& set) {
  Texts out = {{"format", std::string(kFormat)},
               {"format_version", "1"},
               {"layer_convention", std::string(kConvention)},
               {"site", "block"},
               {"hidden_size", std::to_string(set.hidden_size())}};
  const auto put = [&](const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  put("model_hash", set.model_hash);
  put("model_type", set.model_type);
  put("method", set.method);
  put("position", set.position);
  if (set.num_blocks > 0) out["num_blocks"] = std::to_string(set.num_blocks);
  if (set.suggested_layer) out["suggested_layer"] = std::to_string(*set.suggested_layer);
  if (set.any_block) out["any_block"] = "true";
  nlohmann::json norms = nlohmann::json::object(), layers = nlohmann::json::object();
  for (const auto& [block, direction] : set.directions) {
    double sum = 0;
    for (const float x : direction) sum += static_cast<double>(x) * x;
    norms[std::to_string(block)] = std::sqrt(sum);
  }
  for (const auto& [block, report] : set.layers) {
    if (!report.empty()) layers[std::to_string(block)] = report_json(report);
  }
  out["vector_norms"] = norms.dump();  // for readers that look at the header alone
  if (!layers.empty()) out["layers"] = layers.dump();
  return out;
}

int whole_number(const std::string& text, int min, int max, std::string_view key, const Complaints& at) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
    at.fail(key, fmt::format("expected an integer in [{}, {}], got \"{}\"", min, max, printable(text)));
  }
  return value;
}

void read_layers(VectorSet* set, const std::string& text, const Complaints& at) {
  const std::string where = at.file() + ": layers";
  const nlohmann::json json = parse_json(text, where);
  const JsonView view(json, where);
  if (!view.is_object()) view.fail_expected("an object");
  view.for_each([&](const std::string& key, const JsonView& value) {
    const int block = whole_number(key, 0, kMaxBlocks - 1, "layers", at);
    LayerReport& report = set->layers[block];
    value.refuse_unknown_keys({"residual_norm", "explained_variance", "auc", "separation"});
    if (const auto x = value.find("residual_norm")) report.residual_norm = x->number(0);
    if (const auto x = value.find("explained_variance")) report.explained_variance = x->number(0, 1);
    if (const auto x = value.find("auc")) report.auc = x->number(0, 1);
    if (const auto x = value.find("separation")) report.separation = x->number();
  });
}

/// What is not there stays unknown; what is there must make sense.
void read_metadata(VectorSet* set, const Texts& texts, const Complaints& at) {
  const auto find = [&](const char* key) -> const std::string* {
    const auto found = texts.find(key);
    return found == texts.end() ? nullptr : &found->second;
  };
  if (const auto* text = find("format_version"); text != nullptr && *text != "1") {
    at.fail("format_version", fmt::format("expected \"1\", got \"{}\"", printable(*text)));
  }
  if (const auto* text = find("site"); text != nullptr && *text != "block") {
    at.fail("site", fmt::format("expected \"block\", got \"{}\"", printable(*text)));
  }
  if (const auto* text = find("model_hash")) set->model_hash = *text;
  if (const auto* text = find("model_type")) set->model_type = *text;
  if (const auto* text = find("method")) set->method = *text;
  if (const auto* text = find("position")) set->position = *text;
  if (const auto* text = find("num_blocks")) {
    set->num_blocks = whole_number(*text, 1, kMaxBlocks, "num_blocks", at);
  }
  if (const auto* text = find("any_block")) {
    if (*text != "true") at.fail("any_block", "expected \"true\"");
    if (set->directions.size() != 1) at.fail("any_block", "there is more than one direction");
    set->any_block = true;
  }
  if (const auto* text = find("layers")) read_layers(set, *text, at);
  if (const auto* text = find("suggested_layer")) {
    const int block = whole_number(*text, 0, kMaxBlocks - 1, "suggested_layer", at);
    // A GGUF file may lack the direction of block 0 that the metadata speaks of.
    if (set->directions.contains(block))
      set->suggested_layer = block;
    else if (block != 0)
      at.fail("suggested_layer", fmt::format("there is no direction.{}", block));
  }
  if (const auto* text = find("hidden_size")) {
    const int size = whole_number(*text, 1, 1 << 30, "hidden_size", at);
    if (size != set->hidden_size()) {
      at.fail("hidden_size", fmt::format("says {}, the directions have {}", size, set->hidden_size()));
    }
  }
  if (set->num_blocks > 0 && set->directions.rbegin()->first >= set->num_blocks) {
    at.fail("num_blocks", fmt::format("says {}, but there is a direction.{}", set->num_blocks,
                                      set->directions.rbegin()->first));
  }
}

// ------------------------------------------------------------------ safetensors

bool is_floating(mx::Dtype dtype) {
  return dtype == mx::float32 || dtype == mx::float16 || dtype == mx::bfloat16 || dtype == mx::float64;
}

std::vector<float> numbers(const io::SafetensorsFile& file, const std::string& name, const Complaints& at) {
  mx::array values = file.array(name);
  if (!is_floating(values.dtype())) at.fail(name, "expected floating-point numbers");
  values = mx::contiguous(mx::astype(values, mx::float32, mx::Device::cpu), false, mx::Device::cpu);
  values.eval();
  return {values.data<float>(), values.data<float>() + values.size()};
}

/// The one tensor of a file that has no directions by name.
std::string single_tensor(const io::SafetensorsFile& file, const std::string& wanted, const Complaints& at) {
  if (!wanted.empty()) {
    if (!file.tensors().contains(wanted)) at.fail(wanted, "there is no tensor of that name");
    return wanted;
  }
  std::string list, last;
  size_t count = 0;
  for (const auto& [name, entry] : file.tensors()) {
    if (!is_floating(entry.dtype) || entry.shape.empty() || entry.shape.size() > 2) continue;
    list += fmt::format("{}{}", count++ == 0 ? "" : ", ", printable(name, 40));
    last = name;
  }
  if (count == 0) at.fail("tensors", "none that can be a steering vector: [hidden] or [blocks, hidden]");
  if (count > 1)
    at.fail("tensors", fmt::format("several can be meant ({}): name one of them", printable(list, 200)));
  return last;
}

void read_single(VectorSet* set, const io::SafetensorsFile& file, const std::string& name,
                 const Complaints& at) {
  const mx::Shape& shape = file.tensors().at(name).shape;
  if (shape.size() != 1 && shape.size() != 2) {
    at.fail(name, fmt::format("expected [hidden] or [blocks, hidden], got {} dimensions", shape.size()));
  }
  const std::vector<float> values = numbers(file, name, at);
  if (values.empty()) at.fail(name, "is empty");
  if (shape.size() == 1) {
    set->any_block = true;
    add_direction(set, 0, values, name, at);
    return;
  }
  if (shape[0] > kMaxBlocks) at.fail(name, fmt::format("{} blocks", shape[0]));
  const auto width = static_cast<std::ptrdiff_t>(shape[1]);
  for (int block = 0; block < shape[0]; ++block) {
    const auto begin = values.begin() + block * width;
    add_direction(set, block, {begin, begin + width}, fmt::format("{}[{}]", name, block), at);
  }
}

VectorSet read_safetensors(const std::filesystem::path& path, const ReadVectorsOptions& options) {
  const auto file = io::SafetensorsFile::open(path);
  const Complaints at(path.string());
  VectorSet set;
  set.name = path.filename().string();
  const auto format = file->metadata().find("format");
  const bool ours = format != file->metadata().end() && format->second == kFormat;
  if (options.tensor.empty()) {
    for (const auto& [name, entry] : file->tensors()) {
      if (!is_direction(name)) continue;
      if (entry.shape.size() != 1) {
        at.fail(name, fmt::format("expected one dimension, got {}", entry.shape.size()));
      }
      add_direction(&set, block_of(name, at), numbers(*file, name, at), name, at);
    }
  }
  if (set.directions.empty()) read_single(&set, *file, single_tensor(*file, options.tensor, at), at);
  if (ours) read_metadata(&set, file->metadata(), at);
  return set;
}

// ------------------------------------------------------------------ GGUF

std::vector<float> numbers(const io::GgufTensor& tensor, const Complaints& at) {
  if (tensor.shape.size() != 1) {
    at.fail(tensor.name, fmt::format("expected one dimension, got {}", tensor.shape.size()));
  }
  const auto count = static_cast<size_t>(tensor.shape[0]);
  std::vector<float> out(count);
  if (tensor.format == WeightFormat::kF32) {
    std::memcpy(out.data(), tensor.data, count * sizeof(float));
  } else if (tensor.format == WeightFormat::kF16) {
    for (size_t i = 0; i < count; ++i) {
      uint16_t half;
      std::memcpy(&half, tensor.data + 2 * i, 2);
      out[i] = half_to_float(half);
    }
  } else {
    at.fail(tensor.name, fmt::format("expected F32 or F16, got {}", tensor.type_name));
  }
  return out;
}

VectorSet read_gguf(const std::filesystem::path& path, const ReadVectorsOptions& options) {
  const auto file = io::GgufFile::open(path);
  const Complaints at(path.string());
  if (!options.tensor.empty())
    at.fail(options.tensor, "tensors of control-vector files are not chosen by name");
  // llama.cpp does not ask for the architecture; a model's file is the likeliest mistake.
  const auto architecture = file->find_string("general.architecture");
  if (architecture && *architecture != "controlvector") {
    at.fail("general.architecture",
            fmt::format("expected \"controlvector\", got \"{}\"", printable(*architecture)));
  }
  VectorSet set;
  set.name = path.filename().string();
  const bool measured = options.gguf_layers == GgufLayers::kWhereMeasured;
  for (const io::GgufTensor& tensor : file->tensors()) {
    if (!is_direction(tensor.name)) at.fail(tensor.name, "expected tensors named direction.N");
    const int number = block_of(tensor.name, at);
    if (measured && number == 0) at.fail(tensor.name, "cvector-generator counts from 1");
    add_direction(&set, measured ? number - 1 : number, numbers(tensor, at), tensor.name, at);
  }
  if (set.directions.empty()) at.fail("tensors", "no direction.N");
  Texts texts;
  for (const auto& [key, value] : file->metadata()) {
    if (key.starts_with(kGgufPrefix) && value.type == io::GgufType::kString) {
      texts.emplace(key.substr(kGgufPrefix.size()), file->string(key));
    }
  }
  read_metadata(&set, texts, at);
  if (set.model_type.empty()) {
    if (const auto hint = file->find_string("controlvector.model_hint")) set.model_type = *hint;
  }
  return set;
}

std::vector<int> write_gguf(const std::filesystem::path& path, const VectorSet& set) {
  const std::string name = path.string();
  if (set.any_block) {
    throw ArgumentError(
        fmt::format("{}: a direction that belongs to no block has no place in a GGUF file", name));
  }
  const bool has_first = set.directions.contains(0);
  if (has_first && set.directions.size() == 1) {
    throw ArgumentError(fmt::format("{}: GGUF files have no direction for block 0", name));
  }
  io::GgufWriter writer;
  writer.add_string("general.architecture", "controlvector");
  writer.add_string("controlvector.model_hint", set.model_type);
  writer.add_int32("controlvector.layer_count", static_cast<int32_t>(set.directions.size() - has_first));
  for (const auto& [key, value] : metadata_of(set)) writer.add_string(std::string(kGgufPrefix) + key, value);
  for (const auto& [block, direction] : set.directions) {
    if (block == 0) continue;
    writer.add_tensor(fmt::format("{}{}", kPrefix, block), {static_cast<int64_t>(direction.size())},
                      direction);
  }
  writer.write(path);
  return has_first ? std::vector<int>{0} : std::vector<int>{};
}

bool starts_with_gguf(const std::filesystem::path& path) {
  const auto file = io::MappedFile::open(path);
  return file->size() >= 4 && std::memcmp(file->data(), "GGUF", 4) == 0;
}

}  // namespace

VectorSet read_vectors(const std::filesystem::path& path, const ReadVectorsOptions& options) {
  return starts_with_gguf(path) ? read_gguf(path, options) : read_safetensors(path, options);
}

std::vector<int> write_vectors(const std::filesystem::path& path, const VectorSet& set) {
  check(set);
  if (path.extension() == ".gguf") return write_gguf(path, set);
  std::map<std::string, mx::array> tensors;
  for (const auto& [block, direction] : set.directions) {
    tensors.emplace(fmt::format("{}{}", kPrefix, block),
                    mx::array(direction.data(), {static_cast<int>(direction.size())}, mx::float32));
  }
  io::save_safetensors(path, tensors, metadata_of(set));
  return {};
}

}  // namespace genkit::steering

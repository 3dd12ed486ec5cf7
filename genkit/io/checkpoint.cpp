#include "genkit/io/checkpoint.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "genkit/base/byte_hash.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/gguf_checkpoint.h"
#include "genkit/io/hf_folder.h"
#include "genkit/io/weight_rows.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;

std::string shape_text(const mx::Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

// What a path holds, and the file or folder to read.
struct Location {
  bool gguf = false;
  fs::path path;
};

Location locate(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw IoError(fmt::format("{}: no such file or folder", path.string()));
  if (!fs::is_directory(status)) {
    if (path.extension() == ".gguf") return {true, path};
    if (path.extension() == ".safetensors") return {false, path};
    throw FormatError(fmt::format(
        "{}: expected a folder, a .gguf file or a .safetensors file beside its config.json", path.string()));
  }
  if (fs::exists(path / "config.json", error)) return {false, path};
  if (const auto file = single_gguf_in(path)) return {true, *file};
  throw FormatError(fmt::format("{}: neither config.json nor a .gguf file in this folder", path.string()));
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  try {
    checkpoint.read(path);
  } catch (const fs::filesystem_error& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.code().message()));
  }
  return checkpoint;
}

Checkpoint Checkpoint::of_arrays(nlohmann::json config, const std::map<std::string, mx::array>& tensors) {
  Checkpoint checkpoint;
  checkpoint.path_ = "memory";
  checkpoint.config_ = std::move(config);
  checkpoint.config_name_ = "config";
  for (const auto& [name, a] : tensors) {
    const std::string origin = "memory: " + name;
    checkpoint.tensors_.emplace(
        name, TensorEntry{origin, a.shape(), [a = a, origin] { return dense_weight(a, origin); }});
  }
  return checkpoint;
}

void Checkpoint::read(const fs::path& path) {
  const Location location = locate(path);
  if (location.gguf) {
    GgufCheckpoint parts = open_gguf_checkpoint(location.path);
    kind_ = CheckpointKind::kGguf;
    config_ = std::move(parts.config);
    generation_config_ = std::move(parts.generation_config);
    config_name_ = location.path.filename().string() + ": metadata";
    tensors_ = std::move(parts.tensors);
    return;
  }
  HfFolder folder = open_hf_folder(location.path);
  kind_ = folder.quantized ? CheckpointKind::kMlx : CheckpointKind::kHuggingFace;
  config_ = std::move(folder.config);
  generation_config_ = std::move(folder.generation_config);
  config_name_ = "config.json";
  tensors_ = std::move(folder.tensors);
}

const mx::Shape& Checkpoint::shape(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw FormatError(fmt::format("{}: {}: missing", path_.string(), name));
  return it->second.shape;
}

const TensorEntry& Checkpoint::find(const std::string& name, const mx::Shape& shape) {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    refused_.missing.push_back(name);
    throw FormatError(fmt::format("{}: {}: missing", path_.string(), name));
  }
  if (it->second.shape != shape) {
    const std::string message =
        fmt::format("expected {}, got {}", shape_text(shape), shape_text(it->second.shape));
    refused_.wrong_shape.push_back(name + ": " + message);
    const std::string& origin = it->second.origin;
    const bool renamed = !origin.ends_with(": " + name);
    throw FormatError(
        fmt::format("{}: {}{}", origin, renamed ? fmt::format("({}) ", name) : std::string(), message));
  }
  used_.insert(name);
  return it->second;
}

ops::Weight Checkpoint::take(const std::string& name, const mx::Shape& shape) {
  ops::Weight w = find(name, shape).load();
  w.name = name;
  return w;
}

ops::Weight Checkpoint::take_experts(const std::string& pattern, const mx::Shape& shape) {
  const size_t hole = pattern.find("{}.");
  if (hole == std::string::npos || shape.size() != 3) {
    throw ArgumentError("pattern: expected a name with {} for the expert and a shape [experts, out, in]");
  }
  const std::string before = pattern.substr(0, hole), after = pattern.substr(hole + 3);
  if (has(before + after)) return take(before + after, shape);
  std::vector<ops::Weight> parts;
  for (int expert = 0; expert < shape[0]; ++expert) {
    parts.push_back(take(fmt::format("{}{}.{}", before, expert, after), {shape[1], shape[2]}));
  }
  if (parts.empty()) throw ArgumentError("shape: expected at least one expert");
  ops::Weight w = stack(parts);
  w.name = before + after;
  return w;
}

mx::array Checkpoint::take_dense(const std::string& name, const mx::Shape& shape) {
  const ops::Weight w = take(name, shape);
  if (w.format == WeightFormat::kF32) return w.data;
  mx::array a = ops::dequantize(w);
  a.eval();
  return a;
}

TensorReport Checkpoint::report() const {
  TensorReport report = refused_;
  for (const auto& [name, entry] : tensors_) {
    if (used_.count(name) == 0) report.unused.push_back(name);
  }
  return report;
}

std::string Checkpoint::fingerprint() const {
  ByteHash hash;
  hash.add(config_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  const auto add_array = [&](const mx::array& given) {
    mx::array a = mx::contiguous(given);
    a.eval();
    hash.add(a.nbytes());
    if (a.size() != 0) hash.add(a.data<char>(), a.nbytes());
  };
  for (const auto& [name, entry] : tensors_) {
    const ops::Weight w = entry.load();
    hash.add(fmt::format("{} {} {} {} {}", name, static_cast<int>(w.format), shape_text(w.shape), w.bits,
                         w.group_size));
    add_array(w.data);
    if (w.scales) add_array(*w.scales);
    if (w.biases) add_array(*w.biases);
  }
  return hash.hex();
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

}  // namespace genkit::io

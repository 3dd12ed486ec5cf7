#include "genkit/io/hf_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/nearest.h"
#include "genkit/io/hf_names.h"
#include "genkit/io/mlx_quantization.h"
#include "genkit/io/safetensors.h"
#include "genkit/io/weight_rows.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;

constexpr const char* kIndex = "model.safetensors.index.json";

// Every tensor of the folder, by the name its file has.
using FileMap = std::map<std::string, std::shared_ptr<const SafetensorsFile>>;

void add_file(const fs::path& path, FileMap* files) {
  const auto file = SafetensorsFile::open(path);
  for (const auto& [name, entry] : file->tensors()) {
    const auto [it, fresh] = files->emplace(name, file);
    if (!fresh) {
      throw FormatError(fmt::format("{}: {}: also in {}", path.string(), printable(name),
                                    it->second->path().filename().string()));
    }
  }
}

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

FileMap files_of_index(const fs::path& folder) {
  JsonLimits limits;
  limits.max_bytes = size_t{256} << 20;
  const json index = read_json_file(folder / kIndex, limits);
  const JsonView map = JsonView(index, kIndex).at("weight_map");
  std::set<std::string> shards;
  map.for_each([&](const std::string& name, const JsonView& value) {
    const std::string shard = value.string();
    if (!is_plain_file_name(shard)) {
      value.fail(fmt::format("expected the name of a file in the same folder, got \"{}\"", printable(shard)));
    }
    if (shards.count(shard) == 0 && !fs::exists(folder / shard)) {
      value.fail(fmt::format("there is no file {} in the folder", printable(shard)));
    }
    shards.insert(shard);
  });
  FileMap files;
  for (const std::string& shard : shards) add_file(folder / shard, &files);
  map.for_each([&](const std::string& name, const JsonView& value) {
    const auto it = files.find(name);
    if (it == files.end() || it->second->path().filename() != value.string()) {
      value.fail(fmt::format("there is no such tensor in {}", printable(value.string())));
    }
  });
  return files;
}

FileMap files_of_folder(const fs::path& folder) {
  FileMap files;
  if (fs::exists(folder / "model.safetensors")) {
    add_file(folder / "model.safetensors", &files);
    return files;
  }
  if (fs::exists(folder / kIndex)) return files_of_index(folder);
  std::vector<fs::path> parts;
  bool pickled = false;
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) parts.push_back(item.path());
    pickled = pickled || name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt");
  }
  if (parts.empty()) {
    throw FormatError(fmt::format("{}: no model.safetensors, {} or .gguf file in this folder{}",
                                  folder.string(), kIndex,
                                  pickled ? "; pickled PyTorch files are not read" : ""));
  }
  std::sort(parts.begin(), parts.end());
  for (const fs::path& part : parts) add_file(part, &files);
  return files;
}

std::string origin_of(const SafetensorsFile& file, const std::string& name) {
  return fmt::format("{}: {}", file.path().string(), name);
}

TensorEntry dense_entry(const std::shared_ptr<const SafetensorsFile>& file, const std::string& name) {
  TensorEntry entry;
  entry.origin = origin_of(*file, name);
  entry.shape = file->tensors().at(name).shape;
  entry.load = [file, name, origin = entry.origin] { return dense_weight(file->array(name), origin); };
  return entry;
}

TensorEntry quantized_entry(const FileMap& files, const MlxQuantization& quantization,
                            const std::string& base) {
  const auto array = [&](const char* part) { return files.at(base + part)->array(base + part); };
  std::optional<mx::array> biases;
  if (files.count(base + ".biases") != 0) biases = array(".biases");
  return mlx_entry(quantization.layer(base), array(".weight"), array(".scales"), biases,
                   origin_of(*files.at(base + ".weight"), base + ".weight"));
}

void insert(TensorMap* tensors, const std::string& name, TensorEntry entry) {
  const auto [it, fresh] = tensors->emplace(name, entry);
  if (!fresh) {
    throw FormatError(fmt::format("{}: stands for the same tensor as {}", entry.origin, it->second.origin));
  }
}

// The halves of a stack of fused gate and up matrices [experts, 2 * inner, hidden].
void insert_halves(TensorMap* tensors, const std::string& name, const TensorEntry& whole, bool mixtral) {
  if (whole.shape.size() != 3 || whole.shape[1] % 2 != 0) {
    throw FormatError(whole.origin + ": expected a shape [experts, 2 * inner, hidden]");
  }
  const std::string before = name.substr(0, name.size() - std::string("gate_up_proj.weight").size());
  const int inner = whole.shape[1] / 2;
  for (const bool up : {false, true}) {
    TensorEntry half = whole;
    half.shape[1] = inner;
    half.load = [load = whole.load, begin = up ? inner : 0, inner] {
      return slice_rows(load(), begin, begin + inner);
    };
    const char* gate_name = mixtral ? "w1.weight" : "gate_proj.weight";
    const char* up_name = mixtral ? "w3.weight" : "up_proj.weight";
    insert(tensors, before + (up ? up_name : gate_name), std::move(half));
  }
}

bool is_conv1d(const std::string& name) {
  return name.ends_with(".c_attn.weight") || name.ends_with(".c_proj.weight") ||
         name.ends_with(".c_fc.weight");
}

void transpose_entry(TensorEntry* entry) {
  if (entry->shape.size() != 2) throw FormatError(entry->origin + ": expected a matrix");
  std::swap(entry->shape[0], entry->shape[1]);
  entry->load = [load = entry->load] { return transpose(load()); };
}

std::string model_type_of(const json& config) {
  const JsonView view(config, "config.json");
  if (const auto inner = view.find("text_config"); inner && inner->is_object() && inner->find("model_type")) {
    return inner->at("model_type").string();
  }
  return view.string_or("model_type", "");
}

// mlx-lm stores gpt2's matrices as [out, in] and calls the model's parts "model.h...".
bool written_by_mlx_lm(const FileMap& files) {
  return files.count("model.wte.weight") != 0 || files.count("model.wte.scales") != 0;
}

TensorMap named_tensors(const FileMap& files, const json& config,
                        const std::optional<MlxQuantization>& quantization) {
  const std::string model_type = model_type_of(config);
  std::vector<std::string> names;
  for (const auto& [name, file] : files) names.push_back(name);
  const HfNames rules(model_type, names);
  const bool conv1d = model_type == "gpt2" && !written_by_mlx_lm(files);
  TensorMap tensors;
  for (const auto& [name, file] : files) {
    const size_t dot = name.rfind('.');
    const std::string base = name.substr(0, dot);
    const std::string part = dot == std::string::npos ? "" : name.substr(dot);
    const bool scaled =
        quantization && files.count(base + ".scales") != 0 && files.count(base + ".weight") != 0;
    if (scaled && (part == ".scales" || part == ".biases")) continue;
    const auto canonical = rules.canonical(name);
    if (!canonical) continue;
    const bool quantized = scaled && part == ".weight";
    TensorEntry entry = quantized ? quantized_entry(files, *quantization, base) : dense_entry(file, name);
    if (conv1d && is_conv1d(*canonical)) transpose_entry(&entry);
    if (canonical->ends_with(".experts.gate_up_proj.weight")) {
      insert_halves(&tensors, *canonical, entry, model_type == "mixtral");
    } else {
      insert(&tensors, *canonical, std::move(entry));
    }
  }
  return tensors;
}

}  // namespace

HfFolder open_hf_folder(const fs::path& path) {
  const bool one_file = !fs::is_directory(path);
  const fs::path folder = one_file ? path.parent_path() : path;
  HfFolder out;
  out.config = read_json_file(folder / "config.json");
  if (!out.config.is_object()) JsonView(out.config, "config.json").fail_expected("an object");
  if (fs::exists(folder / "generation_config.json")) {
    out.generation_config = read_json_file(folder / "generation_config.json");
  }
  FileMap files;
  if (one_file) {
    add_file(path, &files);
  } else {
    files = files_of_folder(folder);
  }
  const auto quantization = MlxQuantization::from_config(out.config, "config.json");
  out.quantized = quantization.has_value();
  out.tensors = named_tensors(files, out.config, quantization);
  return out;
}

}  // namespace genkit::io

#include "genkit/io/gguf_checkpoint.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/gguf_config.h"
#include "genkit/io/mapped_array.h"
#include "genkit/io/weight_rows.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;

mx::Dtype storage_dtype(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return mx::float32;
    case WeightFormat::kF16:
      return mx::float16;
    case WeightFormat::kBF16:
      return mx::bfloat16;
    default:
      return mx::uint8;
  }
}

ops::Weight stored_weight(const GgufSet::Tensor& tensor) {
  ops::Weight w;
  w.format = *tensor.info->format;
  for (const int64_t extent : tensor.info->shape) w.shape.push_back(int(extent));
  mx::Shape stored = w.shape;
  const FormatTraits& t = traits(w.format);
  if (is_quantized(w.format)) stored.back() = stored.back() / t.block_values * t.block_bytes;
  w.data = mapped_array(tensor.file->file(), tensor.info->data, stored, storage_dtype(w.format));
  return w;
}

// How many query and key heads, and how long they are: what rearrangements go by.
struct Heads {
  int query = 0, key = 0;
};

// GGUF holds rows 0, half, 1, half + 1, ... of each head; transformers 0, 1, ..., half, half + 1, ...
std::vector<int> undo_rope_order(int rows, int heads) {
  std::vector<int> order(static_cast<size_t>(rows));
  const int head = rows / heads, half = head / 2;
  for (int first = 0; first + head <= rows; first += head) {
    for (int i = 0; i < half; ++i) {
      order.at(first + i) = first + 2 * i;
      order.at(first + half + i) = first + 2 * i + 1;
    }
  }
  return order;
}

// GGUF holds queries, keys, values of all heads one after another; gpt_neox each head's together.
std::vector<int> undo_qkv_order(int rows, int heads) {
  std::vector<int> order;
  const int head = rows / 3 / heads;
  for (int h = 0; h < heads; ++h) {
    for (int part = 0; part < 3; ++part) {
      for (int i = 0; i < head; ++i) order.push_back(part * heads * head + h * head + i);
    }
  }
  return order;
}

class Builder {
 public:
  Builder(const GgufSet& set, const nlohmann::json& config) : set_(set) {
    const auto heads = [&](const char* key, const char* gpt2_key) {
      return config.contains(key) ? config[key].get<int>() : config.value(gpt2_key, 1);
    };
    heads_.query = heads("num_attention_heads", "n_head");
    heads_.key = heads("num_key_value_heads", "n_head");
  }

  void add(const GgufSet::Tensor& tensor, const GgufName& name) {
    TensorEntry entry;
    entry.origin = fmt::format("{}: {}", tensor.file->path().string(), printable(tensor.info->name));
    for (const int64_t extent : tensor.info->shape) entry.shape.push_back(int(extent));
    entry.load = loader(tensor, name.change, entry.origin);
    if (name.change == GgufChange::kHeadNorms) {
      add_head_norms(entry, name.name);
    } else {
      insert(name.name, std::move(entry));
    }
  }

  TensorMap take() { return std::move(tensors_); }

 private:
  void insert(const std::string& name, TensorEntry entry) {
    const auto [it, fresh] = tensors_.emplace(name, entry);
    if (!fresh) {
      throw FormatError(fmt::format("{}: stands for the same tensor as {}", entry.origin, it->second.origin));
    }
  }

  static std::function<ops::Weight()> changed(const GgufSet::Tensor& tensor, const std::string& origin,
                                              int heads, int rows_a_head,
                                              std::vector<int> (*order)(int, int)) {
    const int rows = int(tensor.info->shape.front());
    if (heads < 1 || tensor.info->shape.size() > 2 || rows % (heads * rows_a_head) != 0) {
      throw FormatError(fmt::format("{}: {} rows cannot be shared by {} heads", origin, rows, heads));
    }
    return [tensor, heads, rows, order] { return permute_rows(stored_weight(tensor), order(rows, heads)); };
  }

  std::function<ops::Weight()> loader(const GgufSet::Tensor& tensor, GgufChange change,
                                      const std::string& origin) const {
    if (!tensor.info->format) {
      return [origin, type = tensor.info->type_name]() -> ops::Weight {
        throw FormatError(fmt::format("{}: weights of type {} are not supported", origin, type));
      };
    }
    switch (change) {
      case GgufChange::kRopeQuery:
        return changed(tensor, origin, heads_.query, 2, undo_rope_order);
      case GgufChange::kRopeKey:
        return changed(tensor, origin, heads_.key, 2, undo_rope_order);
      case GgufChange::kQkvBlocks:
        return changed(tensor, origin, heads_.query, 3, undo_qkv_order);
      case GgufChange::kPlusOne:
        return [tensor] { return minus_one(stored_weight(tensor)); };
      default:
        return [tensor] { return stored_weight(tensor); };
    }
  }

  void add_head_norms(const TensorEntry& whole, const std::string& name) {
    if (whole.shape.size() != 2) throw FormatError(whole.origin + ": expected a shape [heads, head_dim]");
    const std::string before = name.substr(0, name.rfind('.'));
    for (int head = 0; head < whole.shape[0]; ++head) {
      TensorEntry entry = whole;
      entry.shape = {whole.shape[1]};
      entry.load = [load = whole.load, head, shape = entry.shape] {
        ops::Weight w = slice_rows(load(), head, head + 1);
        w.shape = shape;
        w.data = mx::reshape(w.data, shape);
        w.data.eval();
        return w;
      };
      insert(fmt::format("{}.{}.weight", before, head), std::move(entry));
    }
  }

  const GgufSet& set_;
  Heads heads_;
  TensorMap tensors_;
};

}  // namespace

GgufCheckpoint open_gguf_checkpoint(const fs::path& path) {
  const GgufSet set = GgufSet::open(path);
  const GgufFile& file = set.metadata();
  const std::string_view architecture = file.string("general.architecture");
  const bool experts = file.find_integer(std::string(architecture) + ".expert_count").value_or(0) > 0;
  const GgufFamily* family = find_gguf_family(architecture, experts);
  if (family == nullptr) {
    file.fail("general.architecture", fmt::format("\"{}\" is not supported; these are: {}",
                                                  printable(architecture), gguf_architectures()));
  }
  GgufCheckpoint out;
  out.config = gguf_config(set, *family);
  out.generation_config = gguf_generation_config(file);
  Builder builder(set, out.config);
  for (const GgufSet::Tensor& tensor : set.tensors()) {
    if (const auto name = hf_name(*family, tensor.info->name)) builder.add(tensor, *name);
  }
  out.tensors = builder.take();
  return out;
}

std::optional<fs::path> single_gguf_in(const fs::path& folder) {
  std::vector<fs::path> models;
  for (const auto& item : fs::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (item.path().extension() != ".gguf" || split_name(name).part != 1) continue;
    if (name.starts_with("mmproj")) continue;  // the image tower of the model beside it
    models.push_back(item.path());
  }
  if (models.empty()) return std::nullopt;
  if (models.size() > 1) {
    std::vector<std::string> names;
    for (const auto& model : models) names.push_back(model.filename().string());
    std::sort(names.begin(), names.end());
    throw FormatError(fmt::format("{}: several models in this folder, name one of them: {}", folder.string(),
                                  fmt::join(names, ", ")));
  }
  return models.front();
}

}  // namespace genkit::io

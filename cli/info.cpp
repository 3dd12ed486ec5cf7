#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/hub_cache.h"
#include "genkit/io/safetensors.h"
#include "genkit/kernels/weight_format.h"
#include "genkit/models/registry.h"

namespace genkit::cli {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

Json id_with_token(const text::Tokenizer& tokenizer, std::optional<int32_t> id) {
  if (!id) return nullptr;
  return {{"id", *id}, {"token", tokenizer.id_to_token(*id).value_or("")}};
}

Json describe_tokenizer(const fs::path& path) {
  const auto tokenizer = text::Tokenizer::load(path);
  return {{"vocab_size", tokenizer->vocab_size()},
          {"bos", id_with_token(*tokenizer, tokenizer->bos_token_id())},
          {"eos", id_with_token(*tokenizer, tokenizer->eos_token_id())},
          {"pad", id_with_token(*tokenizer, tokenizer->pad_token_id())},
          {"chat_template_bytes", tokenizer->chat_template().size()}};
}

std::string format_name(const ops::Weight& weight) {
  if (weight.format == WeightFormat::kAffine)
    return fmt::format("affine-{}bit-g{}", weight.bits, weight.group_size);
  return std::string(traits(weight.format).name);
}

/// Counts, sizes and formats; and what the architecture misses or leaves over.
void describe_weights(const fs::path& path, Json& info) {
  io::Checkpoint checkpoint = io::Checkpoint::open(path);
  struct Share {
    size_t tensors = 0, numbers = 0, bytes = 0;
  };
  std::map<std::string, Share> formats;
  Share all;
  for (const std::string& name : checkpoint.names()) {
    const ops::Weight weight = checkpoint.take(name, checkpoint.shape(name));
    size_t numbers = 1;
    for (const int n : weight.shape) numbers *= static_cast<size_t>(n);
    const size_t bytes = weight.data.nbytes() + (weight.scales ? weight.scales->nbytes() : 0) +
                         (weight.biases ? weight.biases->nbytes() : 0);
    for (Share* share : {&formats[format_name(weight)], &all}) {
      ++share->tensors;
      share->numbers += numbers;
      share->bytes += bytes;
    }
  }
  info["tensors"] = all.tensors;
  info["parameters"] = all.numbers;
  info["weight_bytes"] = all.bytes;
  for (const auto& [name, share] : formats) {
    info["formats"][name] = {
        {"tensors", share.tensors}, {"parameters", share.numbers}, {"bytes", share.bytes}};
  }
}

void describe_model(const fs::path& path, Json& info) {
  static constexpr const char* kKinds[] = {"Hugging Face", "MLX", "GGUF"};
  io::Checkpoint checkpoint = io::Checkpoint::open(path);
  info["kind"] = kKinds[static_cast<size_t>(checkpoint.kind())];
  info["architecture"] = checkpoint.config().value("model_type", "");
  try {
    const auto model = models::load_model(checkpoint);
    const config::ModelConfig& c = model->config();
    const auto sliding = std::count(c.layer_kinds.begin(), c.layer_kinds.end(), config::LayerKind::kSliding);
    info["layers"] = c.num_hidden_layers;
    info["hidden_size"] = c.hidden_size;
    info["intermediate_size"] = c.intermediate_size;
    info["attention_heads"] = c.num_attention_heads;
    info["key_value_heads"] = c.num_key_value_heads;
    info["head_dim"] = c.head_dim;
    info["vocab_size"] = c.vocab_size;
    info["context"] = c.max_position_embeddings;
    if (sliding > 0) info["sliding_window"] = {{"size", c.sliding_window}, {"layers", sliding}};
    info["tied_embeddings"] = model->components().tied;
    info["runs"] = true;
  } catch (const Error& e) {
    info["runs"] = false;
    info["reason"] = e.what();
  }
  const io::TensorReport report = checkpoint.report();
  info["missing"] = report.missing;
  info["unused"] = report.unused;
  info["wrong_shape"] = report.wrong_shape;
  describe_weights(path, info);
}

/// A safetensors file without a config.json beside it: only what its header says.
void describe_tensors(const fs::path& path, Json& info) {
  info["kind"] = "safetensors";
  for (const auto& [name, x] : io::load_safetensors(path)) {
    info["tensor_list"][name] = {{"shape", x.shape()}, {"bytes", x.nbytes()}};
  }
}

Json describe(const fs::path& path) {
  Json info = {{"path", path.string()}};
  const bool folder = fs::is_directory(path);
  const bool bare =
      path.extension() == ".safetensors" && !fs::exists(fs::path(path).replace_filename("config.json"));
  if (bare) {
    describe_tensors(path, info);
    return info;
  }
  const bool only_tokenizer =
      folder && !fs::exists(path / "config.json") && fs::exists(path / "tokenizer.json");
  if (!only_tokenizer) describe_model(path, info);
  info["tokenizer"] = nullptr;
  if (has_tokenizer(path))
    info["tokenizer"] = describe_tokenizer(folder || path.extension() == ".gguf" ? path : path.parent_path());
  return info;
}

std::string plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_null()) return "none";
  if (value.is_array() && value.empty()) return "none";
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string as_text(const Json& info) {
  std::string text;
  for (const auto& [key, value] : info.items()) {
    const bool nested = (value.is_object() && !value.empty()) || (value.is_array() && !value.empty());
    if (!nested) {
      text += fmt::format("{:<20} {}\n", key, plain(value));
      continue;
    }
    text += key + '\n';
    for (const auto& [inner, entry] : value.items()) {
      text += value.is_array() ? fmt::format("  {}\n", plain(entry))
                               : fmt::format("  {:<18} {}\n", inner, plain(entry));
    }
  }
  return text;
}

}  // namespace

int run_info(const std::string& program, std::vector<std::string> args) {
  std::string path;
  bool json = false;
  Options options(program, "Says what a model file or folder holds and whether it runs here.",
                  "FILE_OR_DIR [OPTIONS]");
  options.app().add_option("PATH", path, "folder, .gguf or .safetensors file, or hub name")->type_name("");
  options.app().add_flag("--json", json, "the same as one JSON object");
  if (!options.parse(std::move(args))) return kOk;
  if (path.empty()) throw UsageError(fmt::format("FILE_OR_DIR is missing; see {} --help", program));
  const Json info = describe(io::resolve_model(path));
  Output(1).write(json ? info.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n" : as_text(info));
  return kOk;
}

}  // namespace genkit::cli

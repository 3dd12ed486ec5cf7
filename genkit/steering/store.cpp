#include "genkit/steering/store.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/nearest.h"
#include "genkit/io/safetensors.h"

namespace genkit::steering {
namespace {

constexpr std::string_view kPrefix = "genkit.steering.";

template <class Map>
const typename Map::mapped_type& find(const Map& map, const std::string& key, const char* what) {
  const auto found = map.find(key);
  if (found != map.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [name, value] : map) names.push_back(name);
  throw ArgumentError(
      fmt::format("param_key: the store has no {} `{}`{}", what, printable(key), suggestion(key, names)));
}

void require_key(const std::string& key) {
  if (key.empty()) throw ArgumentError("param_key: expected a name, got an empty one");
}

nlohmann::json description(const SteeringVector& v) {
  nlohmann::json json = {{"kind", "vector"}, {"unit", to_string(v.unit)}};
  if (v.layer) json["layer"] = *v.layer;
  if (v.site != models::Site::kBlock) json["site"] = to_string(v.site);
  if (v.residual_norm) json["residual_norm"] = *v.residual_norm;
  if (!v.model_hash.empty()) json["model_hash"] = v.model_hash;
  if (!v.position.empty()) json["position"] = v.position;
  if (!v.notes.empty()) json["notes"] = v.notes;
  return json;
}

SteeringVector read_vector(const std::string& key, const mx::array& values, const JsonView& json) {
  json.refuse_unknown_keys(
      {"kind", "unit", "layer", "site", "residual_norm", "model_hash", "position", "notes"});
  SteeringVector v;
  v.name = key;
  v.values = values;
  v.unit = alpha_unit(json.string_or("unit", "absolute"), "unit");
  if (json.find("layer")) v.layer = json.at("layer").integer<int>();
  v.site = site_named(json.string_or("site", "block"), "site");
  if (json.find("residual_norm")) v.residual_norm = static_cast<float>(json.at("residual_norm").number());
  v.model_hash = json.string_or("model_hash", "");
  v.position = json.string_or("position", "");
  if (const auto notes = json.find("notes")) {
    notes->for_each([&](const std::string& name, const JsonView& value) { v.notes[name] = value.string(); });
  }
  return v;
}

mx::array checked_prompt(const std::string& key, const mx::array& given) {
  if (given.ndim() != 2 || given.size() == 0 || !mx::issubdtype(given.dtype(), mx::floating)) {
    std::string shape;
    for (const int n : given.shape()) shape += (shape.empty() ? "" : ", ") + std::to_string(n);
    throw ArgumentError(
        fmt::format("soft prompt `{}`: expected floating-point embeddings [tokens, hidden], got shape [{}]",
                    printable(key), shape));
  }
  mx::array out = mx::contiguous(mx::astype(given, mx::float32));
  out.eval();
  const float* values = out.data<float>();
  for (size_t i = 0; i < out.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    const size_t hidden = static_cast<size_t>(out.shape(1));
    throw ArgumentError(fmt::format("soft prompt `{}`: value {} of token {} is {}", printable(key),
                                    i % hidden, i / hidden, values[i]));
  }
  return out;
}

}  // namespace

void VectorStore::set(const std::string& key, SteeringVector vector) {
  require_key(key);
  vector.name = key;
  vector = checked(std::move(vector));
  prompts_.erase(key);
  vectors_.insert_or_assign(key, std::move(vector));
  ++version_;
}

void VectorStore::set_soft_prompt(const std::string& key, const mx::array& embeddings) {
  require_key(key);
  mx::array prompt = checked_prompt(key, embeddings);
  vectors_.erase(key);
  prompts_.insert_or_assign(key, std::move(prompt));
  ++version_;
}

bool VectorStore::erase(const std::string& key) {
  ++version_;
  return vectors_.erase(key) + prompts_.erase(key) > 0;
}

const SteeringVector& VectorStore::vector(const std::string& key) const {
  return find(vectors_, key, "vector");
}

const mx::array& VectorStore::soft_prompt(const std::string& key) const {
  return find(prompts_, key, "soft prompt");
}

std::vector<std::string> VectorStore::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, vector] : vectors_) out.push_back(key);
  for (const auto& [key, prompt] : prompts_) out.push_back(key);
  std::sort(out.begin(), out.end());
  return out;
}

void VectorStore::save(const std::filesystem::path& path) const {
  std::map<std::string, mx::array> tensors;
  std::map<std::string, std::string> metadata;
  for (const auto& [key, vector] : vectors_) {
    tensors.emplace(key, vector.values);
    metadata[std::string(kPrefix) + key] = description(vector).dump();
  }
  for (const auto& [key, prompt] : prompts_) {
    tensors.emplace(key, prompt);
    metadata[std::string(kPrefix) + key] = nlohmann::json{{"kind", "soft_prompt"}}.dump();
  }
  io::save_safetensors(path, tensors, metadata);
}

VectorStore VectorStore::load(const std::filesystem::path& path) {
  const auto file = io::SafetensorsFile::open(path);
  VectorStore store;
  for (const auto& [key, entry] : file->tensors()) {
    const std::string name = fmt::format("{}: {}", path.filename().string(), printable(key));
    const auto found = file->metadata().find(std::string(kPrefix) + key);
    if (found == file->metadata().end())
      throw FormatError(fmt::format("{}: has no description (metadata {}{})", name, kPrefix, printable(key)));
    const nlohmann::json json = parse_json(found->second, name);
    const JsonView view(json, name);
    try {
      // Copied out of the mapping: a store outlives its file.
      const mx::array values = mx::copy(file->array(key));
      const std::string kind = view.at("kind").string();
      if (kind == "vector") {
        store.set(key, read_vector(key, values, view));
      } else if (kind == "soft_prompt") {
        store.set_soft_prompt(key, values);
      } else {
        view.at("kind").fail_expected("vector or soft_prompt");
      }
    } catch (const ArgumentError& error) {
      throw FormatError(fmt::format("{}: {}", path.filename().string(), error.what()));
    }
  }
  return store;
}

VectorRef::VectorRef(SteeringVector vector)
    : vector_(std::make_shared<const SteeringVector>(checked(std::move(vector)))) {}

VectorRef::VectorRef(std::shared_ptr<const VectorStore> store, std::string param_key)
    : store_(std::move(store)), key_(std::move(param_key)) {
  if (!store_) throw ArgumentError("param_key: given without a store");
  store_->vector(key_);
}

const SteeringVector& VectorRef::get() const { return vector_ ? *vector_ : store_->vector(key_); }

}  // namespace genkit::steering

#include "genkit/config/model_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/json_reader.h"
#include "genkit/config/layer_plan.h"
#include "genkit/config/model_fields.h"

namespace genkit::config {
namespace {

using Json = nlohmann::json;

/// Reads one value into its place, checking type and range. Null means "none" where there can be
/// none, false for a switch, and is refused elsewhere.
struct ValueReader {
  const FieldRow& row;
  const JsonView& value;

  void operator()(int* out) const {
    *out = value.integer<int>(static_cast<int>(row.min), static_cast<int>(row.max));
  }
  void operator()(double* out) const { *out = value.number(row.min, row.max); }
  void operator()(bool* out) const { *out = value.is_null() ? false : value.boolean(); }
  void operator()(std::string* out) const { *out = value.string(); }
  void operator()(std::optional<double>* out) const {
    if (value.is_null()) {
      out->reset();
    } else {
      *out = value.number(row.min, row.max);
    }
  }
  void operator()(std::optional<int32_t>* out) const {
    out->reset();
    // -1 is how some files write "none".
    if (!value.is_null() && value.json() != -1) {
      *out = value.integer<int32_t>(std::max(0, static_cast<int>(row.min)), static_cast<int>(row.max));
    }
  }
  void operator()(std::vector<int>* out) const {
    out->clear();
    if (!value.is_null()) *out = value.integers<int>(static_cast<int>(row.min), static_cast<int>(row.max));
  }
};

bool is_nullable(const FieldTarget& target) {
  return !std::holds_alternative<int*>(target) && !std::holds_alternative<double*>(target) &&
         !std::holds_alternative<std::string*>(target);
}

void read_field(const FieldRow& row, const JsonView& json, ModelConfig& config) {
  std::string_view key;
  if (json.has(row.key)) {
    key = row.key;
  } else if (!row.old_key.empty() && json.has(row.old_key)) {
    key = row.old_key;
  }
  const bool null = !key.empty() && json.at(key).is_null();
  if (row.fallback == kDerived && (key.empty() || null)) return;
  // A head count of null is the older way to say "as many as there are query heads".
  if (null && row.key == "num_key_value_heads") return;
  if (!key.empty() && (!null || is_nullable(row.target(config)))) {
    const JsonView value = json.at(key);
    std::visit([&](auto* out) { ValueReader{row, value}(out); }, row.target(config));
    return;
  }
  if (row.fallback == kRequired) {
    if (null) json.at(key).fail_expected("a number");
    json.at(row.key);  // throws: missing
  }
  const Json fallback = Json::parse(row.fallback);
  const JsonView value(fallback, "default of " + std::string(row.key));
  std::visit([&](auto* out) { ValueReader{row, value}(out); }, row.target(config));
}

/// One id, a list, or nothing; the family's own where the file is silent.
void read_eos(const JsonView& json, ModelConfig& config) {
  constexpr int kMaxId = 1 << 24;
  if (!json.has("eos_token_id")) {
    switch (config.family) {
      case Family::kLlama:
      case Family::kMistral:
      case Family::kMixtral:
      case Family::kGranite:
      case Family::kGptNeox:
        config.eos_token_id = {2};
        break;
      case Family::kGemma:
      case Family::kGemma2:
      case Family::kGemma3:
        config.eos_token_id = {1};
        break;
      case Family::kPhi3:
        config.eos_token_id = {32000};
        break;
      case Family::kOlmo2:
        config.eos_token_id = {50279};
        break;
      case Family::kSmolLm3:
        config.eos_token_id = {128001};
        break;
      case Family::kGpt2:
      case Family::kStarcoder2:
        config.eos_token_id = {50256};
        break;
      case Family::kStableLm:
        config.eos_token_id = {0};
        break;
      case Family::kCohere:
        config.eos_token_id = {255001};
        break;
      case Family::kGlm4:
        config.eos_token_id = {151329, 151336, 151338};
        break;
      default:
        break;
    }
    return;
  }
  const JsonView field = json.at("eos_token_id");
  if (field.is_null()) return;
  if (field.is_array()) {
    config.eos_token_id = field.integers<int32_t>(0, kMaxId);
  } else if (field.json() != -1) {
    config.eos_token_id = {field.integer<int32_t>(0, kMaxId)};
  }
}

/// Sizes that follow from others, and relations between them.
void resolve_sizes(const JsonView& json, ModelConfig& c) {
  if (c.num_key_value_heads == 0) c.num_key_value_heads = c.num_attention_heads;
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    json.fail(fmt::format("num_key_value_heads: {} does not divide num_attention_heads, {}",
                          c.num_key_value_heads, c.num_attention_heads));
  }
  if (c.head_dim == 0) {
    if (c.hidden_size % c.num_attention_heads != 0) {
      json.fail(fmt::format("num_attention_heads: {} does not divide hidden_size, {}", c.num_attention_heads,
                            c.hidden_size));
    }
    c.head_dim = c.hidden_size / c.num_attention_heads;
  }
  const bool one_width =
      c.family == Family::kGpt2 || c.family == Family::kGptNeox || c.family == Family::kStableLm;
  if (one_width && int64_t{c.head_dim} * c.num_attention_heads != c.hidden_size) {
    json.fail(fmt::format("head_dim: {} heads of {} do not add up to hidden_size, {}", c.num_attention_heads,
                          c.head_dim, c.hidden_size));
  }
  const bool one_kind = c.family == Family::kGpt2 || c.family == Family::kGptNeox;
  if (one_kind && c.num_key_value_heads != c.num_attention_heads) {
    json.fail("num_key_value_heads: this model_type has as many as num_attention_heads");
  }
  if (int64_t{c.head_dim} * c.num_attention_heads > (1 << 24)) {
    json.fail(fmt::format("head_dim: {} heads of {} numbers are more than any model has",
                          c.num_attention_heads, c.head_dim));
  }
  if (c.intermediate_size == 0) c.intermediate_size = 4 * c.hidden_size;  // gpt2's n_inner
  if (c.moe.num_experts > 0 && c.moe.num_experts_per_tok > c.moe.num_experts) {
    json.fail(fmt::format("num_experts_per_tok: {} of only {} experts", c.moe.num_experts_per_tok,
                          c.moe.num_experts));
  }
  if (c.family == Family::kMixtral) c.moe.moe_intermediate_size = c.intermediate_size;
}

void resolve_activation(const JsonView& json, ModelConfig& c) {
  // Gemma's first files say "gelu" and mean the approximation.
  if (c.family == Family::kGemma && c.hidden_act == "gelu") c.hidden_act = "gelu_pytorch_tanh";
  if (is_known_activation(c.hidden_act)) return;
  for (const FieldRow& row : model_field_rows()) {
    const bool ours = (row.families & mask(c.family)) != 0;
    if (ours &&
        (row.key == "hidden_act" || row.key == "hidden_activation" || row.key == "activation_function")) {
      json.fail(fmt::format("{}: unknown activation \"{}\"", row.key, c.hidden_act));
    }
  }
}

RopeDefaults rope_defaults(Family family) {
  RopeDefaults d;
  switch (family) {
    case Family::kMixtral:
      d.theta = 1e6;
      break;
    case Family::kSmolLm3:
      d.theta = 2e6;
      break;
    case Family::kCohere:
      d.theta = 5e5;
      break;
    case Family::kGemma3:
      d.theta = 1e6;
      d.per_layer_kind = true;
      break;
    case Family::kPhi3:
      d.partial_allowed = true;
      d.always_longrope = true;
      break;
    case Family::kGptNeox:
      d.theta_key = "rotary_emb_base";
      d.partial_key = "rotary_pct";
      d.partial_rotary_factor = 0.25;
      d.partial_allowed = true;
      break;
    case Family::kStableLm:
      d.partial_key = "rope_pct";
      d.partial_rotary_factor = 0.25;
      d.partial_allowed = true;
      break;
    case Family::kGlm4:
      d.partial_rotary_factor = 0.5;
      d.partial_allowed = true;
      break;
    default:
      break;
  }
  return d;
}

/// A value that says "this feature is off".
bool is_neutral(const Json& value) {
  return value.is_null() || value == false || value == 0 ||
         ((value.is_array() || value.is_object()) && value.empty()) || value == "";
}

bool has_row(std::string_view key, Family family) {
  const auto rows = model_field_rows();
  return std::any_of(rows.begin(), rows.end(), [&](const FieldRow& row) {
    return (row.families & mask(family)) != 0 && (row.key == key || row.old_key == key);
  });
}

void refuse_unknown_fields(const JsonView& json, const ModelConfig& c) {
  std::vector<std::string> vouched;
  if (const auto list = json.find("mlx_genkit_ignored_fields")) vouched = list->strings();
  json.for_each([&](const std::string& key, const JsonView& value) {
    if (has_row(key, c.family) || is_irrelevant(key, c.family) || is_neutral(value.json())) return;
    if (std::find(vouched.begin(), vouched.end(), key) != vouched.end()) return;
    for (const OnlyRow& row : only_rows()) {
      if (row.key != key) continue;
      const Json expected = Json::parse(row.value);
      if (value.json() == expected) return;
    }
    value.fail(
        fmt::format("not understood for model_type \"{}\", and it might change what the model computes; if "
                    "it does not, add "
                    "\"{}\" to a list \"mlx_genkit_ignored_fields\" in the file",
                    c.model_type, key));
  });
}

const ModelTypeRow& find_model_type(const JsonView& field) {
  const std::string name = field.string();
  const auto rows = model_type_rows();
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const ModelTypeRow& r) { return r.model_type == name; });
  if (row != rows.end()) return *row;
  std::string supported;
  for (const ModelTypeRow& r : rows) supported += (supported.empty() ? "" : ", ") + std::string(r.model_type);
  field.fail(fmt::format("\"{}\" is not supported; supported: {}", name, supported));
}

/// The language model's part of a multimodal configuration, with what the outer part says about
/// tokens and number types where the inner one is silent.
Json text_part(const JsonView& whole, const ModelTypeRow& row) {
  const JsonView inner = whole.at("text_config");
  if (!inner.is_object()) inner.fail_expected("an object");
  Json merged = inner.json();
  if (!merged.contains("model_type")) merged["model_type"] = std::string(row.model_type) + "_text";
  for (const char* key : {"eos_token_id", "bos_token_id", "pad_token_id", "dtype", "torch_dtype",
                          "tie_word_embeddings", "mlx_genkit_ignored_fields"}) {
    if (!merged.contains(key) && whole.json().contains(key)) merged[key] = whole.json().at(key);
  }
  return merged;
}

}  // namespace

bool ModelConfig::is_sparse(int layer) const {
  if (moe.num_experts == 0 || (layer + 1) % moe.decoder_sparse_step != 0) return false;
  return std::find(moe.mlp_only_layers.begin(), moe.mlp_only_layers.end(), layer) ==
         moe.mlp_only_layers.end();
}

ModelConfig ModelConfig::from_json(const Json& whole, const std::string& file) {
  const JsonView outer(whole, file);
  if (!outer.is_object()) outer.fail_expected("an object");
  const ModelTypeRow* row = &find_model_type(outer.at("model_type"));

  ModelConfig c;
  c.raw = row->text_config ? text_part(outer, *row) : whole;
  const JsonView json(c.raw, row->text_config ? file + ": text_config" : file);
  if (row->text_config) {
    const ModelTypeRow& inner = find_model_type(json.at("model_type"));
    if (inner.family != row->family || inner.text_config) {
      json.at("model_type").fail(fmt::format("not the language model of \"{}\"", row->model_type));
    }
    row = &inner;
  }
  c.model_type = row->model_type;
  c.family = row->family;

  for (const FieldRow& field : model_field_rows()) {
    if ((field.families & mask(c.family)) != 0) read_field(field, json, c);
  }
  read_eos(json, c);
  resolve_sizes(json, c);
  resolve_activation(json, c);
  resolve_layers(json, c);
  if (c.family != Family::kGpt2) {
    const RopePair rope = read_rope(json, rope_defaults(c.family), c.head_dim, c.max_position_embeddings);
    c.rope = rope.full;
    c.rope_local = rope.sliding;
  }
  refuse_unknown_fields(json, c);
  return c;
}

std::vector<std::string_view> supported_model_types() {
  std::vector<std::string_view> names;
  for (const ModelTypeRow& row : model_type_rows()) names.push_back(row.model_type);
  return names;
}

}  // namespace genkit::config

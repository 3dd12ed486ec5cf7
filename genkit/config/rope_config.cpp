#include "genkit/config/rope_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace genkit::config {
namespace {

struct TypeName {
  std::string_view name;
  RopeType type;
};

constexpr std::array kTypeNames = {
    TypeName{"default", RopeType::kDefault}, TypeName{"linear", RopeType::kLinear},
    TypeName{"dynamic", RopeType::kDynamic}, TypeName{"llama3", RopeType::kLlama3},
    TypeName{"yarn", RopeType::kYarn},       TypeName{"longrope", RopeType::kLongRope},
};

/// Keys of a rope dictionary that mean something for any type.
constexpr std::array<std::string_view, 16> kKnownKeys = {
    "rope_type",        "type",
    "rope_theta",       "partial_rotary_factor",
    "factor",           "original_max_position_embeddings",
    "attention_factor", "beta_fast",
    "beta_slow",        "mscale",
    "mscale_all_dim",   "truncate",
    "short_factor",     "long_factor",
    "low_freq_factor",  "high_freq_factor",
};

/// A key that nobody knows, unless it says nothing.
void refuse_unknown(const JsonView& dict) {
  dict.for_each([](const std::string& key, const JsonView& value) {
    if (std::find(kKnownKeys.begin(), kKnownKeys.end(), key) != kKnownKeys.end()) return;
    if (value.is_null() || value.json() == false) return;
    value.fail("not understood; remove it if it does not change the rotary embedding");
  });
}

constexpr double kMaxFactor = 1e6;
constexpr int kMaxPositions = 1 << 30;

RopeType read_type(const JsonView& dict, const RopeDefaults& defaults) {
  std::optional<JsonView> field = dict.find("rope_type");
  if (!field) field = dict.find("type");
  if (!field) return RopeType::kDefault;
  const std::string name = field->string();
  if (defaults.always_longrope && (name == "su" || name == "yarn")) return RopeType::kLongRope;
  std::string supported;
  for (const TypeName& row : kTypeNames) {
    if (row.name == name) {
      if (defaults.always_longrope && row.type != RopeType::kDefault && row.type != RopeType::kLongRope) {
        field->fail(
            fmt::format("\"{}\" does not exist for this model_type; it knows \"longrope\" alone", name));
      }
      return row.type;
    }
    supported += (supported.empty() ? "" : ", ") + std::string(row.name);
  }
  field->fail(fmt::format("unknown rope type \"{}\"; supported: {}", name, supported));
}

/// A number above zero from the dictionary. transformers requires the key; null is as good as none.
double positive(const JsonView& dict, std::string_view key) {
  const JsonView field = dict.at(key);
  const double value = field.number(0.0, kMaxFactor);
  if (value <= 0.0) field.fail_expected("a number above 0");
  return value;
}

double positive_or(const JsonView& dict, std::string_view key, double fallback) {
  return dict.find(key) ? positive(dict, key) : fallback;
}

std::optional<double> optional_number(const JsonView& dict, std::string_view key) {
  const auto field = dict.find(key);
  if (!field) return std::nullopt;
  return field->number(0.0, kMaxFactor);
}

std::vector<double> read_factors(const JsonView& dict, std::string_view key, int dims) {
  const JsonView field = dict.at(key);
  std::vector<double> factors = field.numbers();
  if (static_cast<int>(factors.size()) != dims / 2) {
    field.fail(fmt::format("expected {} numbers, one a rotated pair, got {}", dims / 2, factors.size()));
  }
  for (size_t i = 0; i < factors.size(); ++i) {
    if (factors[i] <= 0.0) field.at(i).fail_expected("a number above 0");
  }
  return factors;
}

/// Numbers of a head that are rotated, as int(head_dim * partial_rotary_factor) in Python.
void read_dims(const JsonView& config, const JsonView* dict, const RopeDefaults& defaults, int head_dim,
               RopeConfig& rope) {
  std::optional<JsonView> field = dict ? dict->find("partial_rotary_factor") : std::nullopt;
  if (!field && defaults.partial_key) field = config.find(defaults.partial_key);
  if (!field) field = config.find("partial_rotary_factor");
  rope.partial_rotary_factor = field ? field->number(0.0, 1.0) : defaults.partial_rotary_factor;
  if (field && rope.partial_rotary_factor != 1.0 && !defaults.partial_allowed) {
    field->fail("this model_type rotates whole heads; expected 1");
  }
  rope.dims = static_cast<int>(head_dim * rope.partial_rotary_factor);
  if (rope.dims < 2 || rope.dims % 2 != 0) {
    const std::string what = fmt::format(
        "a head of {} numbers leaves {} to rotate; expected an even number above 0", head_dim, rope.dims);
    if (field) field->fail(what);
    config.fail("head_dim: " + what);
  }
}

void read_theta(const JsonView& config, const JsonView* dict, const RopeDefaults& defaults,
                RopeConfig& rope) {
  std::optional<JsonView> field = dict ? dict->find("rope_theta") : std::nullopt;
  if (!field && defaults.theta_key) field = config.find(defaults.theta_key);
  if (!field) field = config.find("rope_theta");
  rope.theta = field ? field->number(0.0, 1e15) : defaults.theta;
  if (field && rope.theta <= 1.0) field->fail_expected("a number above 1");
}

/// What each type needs on top of theta and dims.
void read_scaling(const JsonView& config, const JsonView& dict, RopeConfig& rope) {
  if (rope.type == RopeType::kDefault) return;
  // A field of the whole configuration overrides the dictionary's, as in transformers.
  std::optional<JsonView> original = config.find("original_max_position_embeddings");
  if (!original) original = dict.find("original_max_position_embeddings");
  rope.original_max_position_embeddings =
      original ? original->integer<int>(1, kMaxPositions) : rope.max_position_embeddings;
  const double ratio =
      static_cast<double>(rope.max_position_embeddings) / rope.original_max_position_embeddings;
  switch (rope.type) {
    case RopeType::kLongRope:
      rope.factor = positive_or(dict, "factor", ratio);
      rope.attention_factor = optional_number(dict, "attention_factor");
      rope.short_factor = read_factors(dict, "short_factor", rope.dims);
      rope.long_factor = read_factors(dict, "long_factor", rope.dims);
      return;
    case RopeType::kYarn:
      // "factor": null means the ratio of the two lengths; an absent key is an error.
      rope.factor = dict.at("factor").is_null() ? ratio : positive(dict, "factor");
      rope.attention_factor = optional_number(dict, "attention_factor");
      rope.mscale = optional_number(dict, "mscale");
      rope.mscale_all_dim = optional_number(dict, "mscale_all_dim");
      rope.beta_fast = positive_or(dict, "beta_fast", 32.0);
      rope.beta_slow = positive_or(dict, "beta_slow", 1.0);
      rope.truncate = dict.boolean_or("truncate", true);
      return;
    case RopeType::kLlama3:
      rope.factor = positive(dict, "factor");
      rope.low_freq_factor = positive(dict, "low_freq_factor");
      rope.high_freq_factor = positive(dict, "high_freq_factor");
      if (rope.high_freq_factor == rope.low_freq_factor) {
        dict.at("high_freq_factor").fail("expected another number than low_freq_factor");
      }
      return;
    case RopeType::kDynamic:
      rope.factor = positive(dict, "factor");
      if (rope.dims < 4) dict.fail("dynamic scaling needs heads of at least 4 rotated numbers");
      return;
    case RopeType::kLinear:
      rope.factor = positive(dict, "factor");
      return;
    case RopeType::kDefault:
      return;
  }
}

RopeConfig read_one(const JsonView& config, const JsonView* dict, const RopeDefaults& defaults, int head_dim,
                    int max_position_embeddings) {
  RopeConfig rope;
  rope.max_position_embeddings = max_position_embeddings;
  read_theta(config, dict, defaults, rope);
  read_dims(config, dict, defaults, head_dim, rope);
  if (!dict) return rope;
  refuse_unknown(*dict);
  rope.type = read_type(*dict, defaults);
  read_scaling(config, *dict, rope);
  return rope;
}

/// The dictionary under `key`; nothing when it is absent, null or empty.
std::optional<JsonView> find_dict(const JsonView& config, std::string_view key) {
  auto field = config.find(key);
  if (!field) return std::nullopt;
  if (!field->is_object()) field->fail_expected("an object");
  if (field->size() == 0) return std::nullopt;
  return field;
}

const JsonView* pointer(const std::optional<JsonView>& view) { return view ? &*view : nullptr; }

/// gemma3: `rope_parameters` holds one dictionary a kind of layer; the older form has `rope_scaling`
/// for full layers and `rope_local_base_freq` for sliding ones.
RopePair read_per_layer_kind(const JsonView& config, const RopeDefaults& defaults, int head_dim,
                             int max_position_embeddings) {
  std::optional<JsonView> full, sliding;
  if (const auto both = find_dict(config, "rope_parameters")) {
    both->refuse_unknown_keys({"full_attention", "sliding_attention"});
    full = find_dict(*both, "full_attention");
    sliding = find_dict(*both, "sliding_attention");
  }
  if (const auto scaling = find_dict(config, "rope_scaling")) full = scaling;
  RopePair pair;
  pair.full = read_one(config, pointer(full), defaults, head_dim, max_position_embeddings);
  // The sliding layers' theta never comes from `rope_theta`, and scaling never reaches them.
  RopeDefaults local = defaults;
  local.theta_key = "rope_local_base_freq";
  local.theta = 10000.0;
  pair.sliding = read_one(config, pointer(sliding), local, head_dim, max_position_embeddings);
  const bool given = (sliding && sliding->find("rope_theta")) || config.find("rope_local_base_freq");
  if (!given) pair.sliding.theta = local.theta;
  return pair;
}

}  // namespace

RopePair read_rope(const JsonView& config, const RopeDefaults& defaults, int head_dim,
                   int max_position_embeddings) {
  if (defaults.per_layer_kind)
    return read_per_layer_kind(config, defaults, head_dim, max_position_embeddings);
  std::optional<JsonView> dict = find_dict(config, "rope_scaling");
  if (!dict) dict = find_dict(config, "rope_parameters");
  RopePair pair;
  pair.full = read_one(config, pointer(dict), defaults, head_dim, max_position_embeddings);
  pair.sliding = pair.full;
  return pair;
}

}  // namespace genkit::config

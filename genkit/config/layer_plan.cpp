#include "genkit/config/layer_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace genkit::config {
namespace {

constexpr int kMaxWindow = 1 << 30;

/// `sliding_window` in tokens; 0 for none. `fallback` is the family's where the key is absent.
int read_window(const JsonView& json, int fallback) {
  if (!json.has("sliding_window")) return fallback;
  const JsonView field = json.at("sliding_window");
  return field.is_null() ? 0 : field.integer<int>(1, kMaxWindow);
}

/// The window a configuration switches on with `use_sliding_window`.
int read_optional_window(const JsonView& json, int fallback) {
  return json.boolean_or("use_sliding_window", false) ? read_window(json, fallback) : 0;
}

std::vector<LayerKind> read_layer_types(const JsonView& field, int layers) {
  std::vector<LayerKind> kinds = field.array_of([](const JsonView& v) {
    const std::string name = v.string();
    if (name == "full_attention") return LayerKind::kFull;
    if (name == "sliding_attention") return LayerKind::kSliding;
    v.fail(fmt::format("unknown kind of layer \"{}\"; supported: full_attention, sliding_attention", name));
  });
  if (static_cast<int>(kinds.size()) != layers) {
    field.fail(fmt::format("expected {} entries, one a layer, got {}", layers, kinds.size()));
  }
  return kinds;
}

/// smollm3: 1 where a layer uses rope.
void read_no_rope_layers(const JsonView& json, ModelConfig& c) {
  if (const auto field = json.find("no_rope_layers")) {
    const std::vector<int> uses = field->integers<int>(0, 1);
    if (static_cast<int>(uses.size()) < c.num_hidden_layers) {
      field->fail(fmt::format("expected {} entries, one a layer, got {}", c.num_hidden_layers, uses.size()));
    }
    std::copy_n(uses.begin(), c.num_hidden_layers, c.layer_uses_rope.begin());
    return;
  }
  const int interval = json.integer_or<int>("no_rope_layer_interval", 4, 1);
  for (int i = 0; i < c.num_hidden_layers; ++i) c.layer_uses_rope[i] = (i + 1) % interval != 0;
}

/// What the family does where the file has no `layer_types`.
LayerKind default_kind(const JsonView& json, const ModelConfig& c, int layer) {
  const bool window = c.sliding_window > 0;
  const auto sliding_if = [](bool yes) { return yes ? LayerKind::kSliding : LayerKind::kFull; };
  switch (c.family) {
    case Family::kQwen2:
    case Family::kQwen3:
      return sliding_if(window && layer >= json.integer_or<int>("max_window_layers", 28, 0));
    case Family::kGemma2:
      return sliding_if((layer + 1) % 2 != 0);
    case Family::kGemma3: {
      const char* key =
          json.find("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
      return sliding_if((layer + 1) % json.integer_or<int>(key, 6, 1) != 0);
    }
    case Family::kSmolLm3:
      return sliding_if(window && !c.layer_uses_rope[layer]);
    default:
      return sliding_if(window);
  }
}

/// Families whose layers transformers tells apart by `layer_types`; in the others all are alike.
bool follows_layer_types(Family family) {
  return family == Family::kQwen2 || family == Family::kQwen3 || family == Family::kGemma2 ||
         family == Family::kGemma3 || family == Family::kSmolLm3;
}

}  // namespace

void resolve_layers(const JsonView& json, ModelConfig& c) {
  switch (c.family) {
    case Family::kMistral:
    case Family::kGemma2:
    case Family::kGemma3:
      c.sliding_window = read_window(json, 4096);
      break;
    case Family::kMixtral:
    case Family::kPhi3:
    case Family::kStarcoder2:
      c.sliding_window = read_window(json, 0);
      break;
    case Family::kQwen2:
    case Family::kQwen3:
    case Family::kQwen3Moe:
      c.sliding_window = read_optional_window(json, 4096);
      break;
    case Family::kSmolLm3:
      c.sliding_window = read_optional_window(json, 0);
      break;
    default:
      c.sliding_window = 0;
      break;
  }
  c.layer_uses_rope.assign(c.num_hidden_layers, 1);
  if (c.family == Family::kSmolLm3) read_no_rope_layers(json, c);

  std::vector<LayerKind> own(c.num_hidden_layers);
  for (int i = 0; i < c.num_hidden_layers; ++i) own[i] = default_kind(json, c, i);
  c.layer_kinds = own;
  if (const auto field = json.find("layer_types")) {
    c.layer_kinds = read_layer_types(*field, c.num_hidden_layers);
    if (!follows_layer_types(c.family) && c.layer_kinds != own) {
      field->fail(fmt::format("all layers of model_type \"{}\" are {}", c.model_type,
                              c.sliding_window > 0 ? "sliding_attention" : "full_attention"));
    }
  }
  const bool any_sliding = std::count(c.layer_kinds.begin(), c.layer_kinds.end(), LayerKind::kSliding) > 0;
  if (any_sliding && c.sliding_window == 0) {
    json.fail("sliding_window: missing, and layer_types names layers of sliding_attention");
  }
}

}  // namespace genkit::config

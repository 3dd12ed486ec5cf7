#include "genkit/io/hf_names.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace genkit::io {
namespace {

bool replace_start(std::string* name, std::string_view start, std::string_view by) {
  if (!name->starts_with(start)) return false;
  name->replace(0, start.size(), by);
  return true;
}

bool replace_part(std::string* name, std::string_view part, std::string_view by) {
  const size_t at = name->find(part);
  if (at == std::string::npos) return false;
  name->replace(at, part.size(), by);
  return true;
}

// Buffers that old versions of transformers saved with the weights.
bool is_buffer(std::string_view name, bool gpt2, bool gpt_neox) {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  if (gpt2 && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"))) return true;
  return gpt_neox && (name.ends_with(".attention.bias") || name.ends_with(".attention.masked_bias"));
}

// A language model inside another, as transformers 4, transformers 5 and MLX save it.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kInside{{
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"model.language_model.lm_head.", "lm_head."},
    {"model.language_model.", "model."},
}};

// Names of the bare model's parts, by the prefix that the ForCausalLM class puts in front.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kBare{{
    {"embed_tokens.", "model."},
    {"wte.", "transformer."},
    {"embed_in.", "gpt_neox."},
    {"model.wte.", "transformer."},    // mlx-lm's gpt2
    {"model.embed_in.", "gpt_neox."},  // mlx-lm's gpt_neox
}};

}  // namespace

HfNames::HfNames(const std::string& model_type, const std::vector<std::string>& names)
    : mixtral_(model_type == "mixtral"), gpt_neox_(model_type == "gpt_neox"), gpt2_(model_type == "gpt2") {
  for (const std::string& name : names) {
    for (const auto& [start, by] : kInside) text_inside_ = text_inside_ || name.starts_with(start);
    for (const auto& [start, prefix] : kBare) {
      if (name.starts_with(start)) prefix_ = prefix;
    }
  }
}

std::optional<std::string> HfNames::canonical(const std::string& original) const {
  std::string name = original;
  if (is_buffer(name, gpt2_, gpt_neox_)) return std::nullopt;
  if (text_inside_) {
    const bool text = std::any_of(kInside.begin(), kInside.end(), [&](const auto& rule) {
      return replace_start(&name, rule.first, rule.second);
    });
    if (!text && !name.starts_with("lm_head.")) return std::nullopt;
  } else if (!prefix_.empty() && !name.starts_with("lm_head.") && !name.starts_with("embed_out.")) {
    if (prefix_ == "model.") {
      name = prefix_ + name;
    } else {
      // mlx-lm calls gpt_neox's blocks "model.h" and its head "model.embed_out".
      replace_start(&name, "model.", "");
      if (gpt_neox_) replace_start(&name, "h.", "layers.");
      if (!name.starts_with("embed_out.")) name = prefix_ + name;
    }
  }
  // Stacked experts: mlx-lm calls them switch_mlp; transformers 5 has parameters without ".weight".
  replace_part(&name, ".switch_mlp.", ".experts.");
  for (const std::string_view parameter : {".experts.gate_up_proj", ".experts.down_proj"}) {
    if (name.ends_with(parameter)) name += ".weight";
  }
  if (mixtral_) {
    replace_part(&name, ".mlp.", ".block_sparse_moe.");
    for (const auto& [part, by] : {std::pair{".gate_proj.", ".w1."}, std::pair{".up_proj.", ".w3."},
                                   std::pair{".down_proj.", ".w2."}}) {
      if (name.find(".experts.") != std::string::npos) replace_part(&name, part, by);
    }
  }
  return name;
}

}  // namespace genkit::io

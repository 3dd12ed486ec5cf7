#include "golden_gguf.h"

#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numbers>

#include "genkit/io/safetensors.h"

namespace genkit::io::testing {
namespace {

namespace mx = mlx::core;
using nlohmann::json;

const json& all_names() {
  static const json names = json::parse(
      std::ifstream(std::filesystem::path(MLXGK_TEST_DATA).parent_path() / "io/data/gguf_names.json"));
  return names;
}

std::vector<float> floats_of(mx::array a) {
  a = mx::contiguous(a);
  a.eval();
  return {a.data<float>(), a.data<float>() + a.size()};
}

// conversion/llama.py, LlamaModel.permute
mx::array permute(const mx::array& w, int heads) {
  mx::Shape split = w.shape();
  const int half = split[0] / heads / 2;
  split.erase(split.begin());
  split.insert(split.begin(), half);
  split.insert(split.begin(), 2);
  split.insert(split.begin(), heads);
  return mx::reshape(mx::swapaxes(mx::reshape(w, split), 1, 2), w.shape());
}

// conversion/gptneox.py: [heads, 3, head_dim, ...] to all queries, all keys, all values.
mx::array split_qkv(const mx::array& w, int heads) {
  mx::Shape split = w.shape();
  const int head = split[0] / heads / 3;
  split.erase(split.begin());
  split.insert(split.begin(), head);
  split.insert(split.begin(), 3);
  split.insert(split.begin(), heads);
  return mx::reshape(mx::swapaxes(mx::reshape(w, split), 0, 1), w.shape());
}

/// Blocks of 32 with a power of two as their scale, which fp16 holds exactly. @param most the largest code.
std::string blocks(const std::vector<float>& values, int most) {
  std::string out;
  for (size_t at = 0; at < values.size(); at += 32) {
    float largest = 0;
    for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[at + i]));
    const int exponent = largest > 0 ? std::max(-14, int(std::ceil(std::log2(largest / float(most))))) : 0;
    const auto code = [&](size_t i) {
      return int(std::lround(std::clamp(std::ldexp(values[at + i], -exponent), float(-most), float(most))));
    };
    out += GgufBuilder::raw(uint16_t((exponent + 15) << 10));
    if (most > 7) {
      for (size_t i = 0; i < 32; ++i) out += char(code(i));
    } else {
      for (size_t i = 0; i < 16; ++i) out += char((code(i) + 8) | (code(i + 16) + 8) << 4);
    }
  }
  return out;
}

class Converter {
 public:
  Converter(const std::filesystem::path& folder, const std::string& family, bool quantised)
      : names_(all_names().at(family)), quantised_(quantised) {
    config_ = json::parse(std::ifstream(folder / "config.json"));
    tensors_ = load_safetensors(folder / "model.safetensors");
    type_ = config_.at("model_type").get<std::string>();
    prefix_ = names_.at("architecture").get<std::string>() + ".";
  }

  GgufBuilder convert() {
    out_.set("general.architecture", names_.at("architecture").get<std::string>());
    put_sizes();
    if (type_ != "gpt2") put_rope();
    put_family();
    out_.set("tokenizer.ggml.bos_token_id", 1u).set("tokenizer.ggml.eos_token_id", 2u);
    out_.set("tokenizer.ggml.padding_token_id", 0u);
    put_tensors();
    return std::move(out_);
  }

 private:
  bool is(const char* type) const { return type_ == type; }
  void set(const std::string& key, uint32_t v) { out_.set(prefix_ + key, v); }
  void set(const std::string& key, float v) { out_.set(prefix_ + key, v); }
  void set(const std::string& key, bool v) { out_.set(prefix_ + key, v); }
  void set_text(const std::string& key, const std::string& v) { out_.set(prefix_ + key, v); }

  const json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      if (config_.contains(key) && !config_[key].is_null()) return &config_[key];
    }
    return nullptr;
  }
  int heads() const { return find({"num_attention_heads", "n_head"})->get<int>(); }
  int kv_heads() const {
    const json* value = find({"num_key_value_heads"});
    return value ? value->get<int>() : heads();
  }
  int hidden() const { return find({"hidden_size", "n_embd"})->get<int>(); }
  int head_dim() const {
    const json* value = find({"head_dim"});
    return value ? value->get<int>() : hidden() / heads();
  }

  // conversion/base.py, TextModel.set_gguf_parameters
  void put_sizes() {
    const auto put = [&](const char* key, std::initializer_list<const char*> names) {
      if (const json* value = find(names)) set(key, value->get<uint32_t>());
    };
    put("context_length", {"max_position_embeddings", "n_positions"});
    put("embedding_length", {"hidden_size", "n_embd"});
    put("block_count", {"num_hidden_layers", "n_layer"});
    put("attention.head_count", {"num_attention_heads", "n_head"});
    put("attention.head_count_kv", {"num_key_value_heads"});
    put("attention.key_length", {"head_dim"});
    put("attention.value_length", {"head_dim"});
    put("expert_count", {"num_local_experts"});
    put("expert_used_count", {"num_experts_per_tok"});
    put("expert_feed_forward_length", {"moe_intermediate_size"});
    if (is("gpt2")) {
      set("feed_forward_length", uint32_t(4 * hidden()));
    } else {
      put("feed_forward_length", {"intermediate_size"});
    }
    if (const json* eps = find({"rms_norm_eps"})) set("attention.layer_norm_rms_epsilon", eps->get<float>());
    if (const json* eps = find({"layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"})) {
      set("attention.layer_norm_epsilon", eps->get<float>());
    }
  }

  void put_rope() {
    const json& all = config_.at("rope_parameters");
    const json& rope = all.contains("full_attention") ? all["full_attention"] : all;
    set("rope.freq_base", rope.at("rope_theta").get<float>());
    if (all.contains("sliding_attention")) {
      set("rope.freq_base_swa", all["sliding_attention"].at("rope_theta").get<float>());
    }
    const int rotated = int(rope.value("partial_rotary_factor", 1.0) * head_dim());
    set("rope.dimension_count", uint32_t(rotated));
    const std::string type = rope.at("rope_type");
    if (type == "linear" || type == "yarn") {
      set_text("rope.scaling.type", type);
      set("rope.scaling.factor", rope.at("factor").get<float>());
    }
    if (type == "yarn") {
      set("rope.scaling.original_context_length",
          rope.at("original_max_position_embeddings").get<uint32_t>());
      set("rope.scaling.yarn_beta_fast", rope.at("beta_fast").get<float>());
      set("rope.scaling.yarn_beta_slow", rope.at("beta_slow").get<float>());
    }
    if (type == "llama3") put_llama3(rope, rotated);
    if (type == "longrope") put_longrope(rope);
  }

  // conversion/llama.py, LlamaModel.generate_extra_tensors
  void put_llama3(const json& rope, int rotated) {
    const double factor = rope.at("factor"), low = rope.at("low_freq_factor"),
                 high = rope.at("high_freq_factor"), context = rope.at("original_max_position_embeddings"),
                 theta = rope.at("rope_theta");
    std::vector<float> factors;
    for (int i = 0; i < rotated; i += 2) {
      const double wavelength = 2 * std::numbers::pi * std::pow(theta, double(i) / rotated);
      const double smooth = (context / wavelength - low) / (high - low);
      factors.push_back(float(wavelength < context / high  ? 1
                              : wavelength > context / low ? factor
                                                           : 1 / ((1 - smooth) / factor + smooth)));
    }
    out_.floats("rope_freqs.weight", {factors.size()}, factors);
  }

  // conversion/phi.py
  void put_longrope(const json& rope) {
    const double context = rope.at("original_max_position_embeddings");
    const double scale = config_.at("max_position_embeddings").get<double>() / context;
    set("rope.scaling.original_context_length", uint32_t(context));
    set("rope.scaling.attn_factor", float(std::sqrt(1 + std::log(scale) / std::log(context))));
    for (const auto& [name, key] : {std::pair{"rope_factors_long.weight", "long_factor"},
                                    std::pair{"rope_factors_short.weight", "short_factor"}}) {
      const auto factors = rope.at(key).get<std::vector<float>>();
      out_.floats(name, {factors.size()}, factors);
    }
  }

  void put_family() {
    if (is("phi3")) set("attention.sliding_window", 0u);
    if (is("gpt_neox")) set("use_parallel_residual", config_.at("use_parallel_residual").get<bool>());
    if (is("stablelm")) set("use_parallel_residual", config_.at("use_parallel_residual").get<bool>());
    if (is("cohere")) set("logit_scale", config_.at("logit_scale").get<float>());
    if (is("cohere")) set_text("rope.scaling.type", "none");
    if (is("qwen3_moe")) set("expert_weights_norm", config_.at("norm_topk_prob").get<bool>());
    if (is("granite")) {
      set("attention.scale", config_.at("attention_multiplier").get<float>());
      set("embedding_scale", config_.at("embedding_multiplier").get<float>());
      set("residual_scale", config_.at("residual_multiplier").get<float>());
      set("logit_scale", config_.at("logits_scaling").get<float>());
    }
    if (!is("gemma2") && !is("gemma3_text")) return;
    set("attention.sliding_window", config_.at("sliding_window").get<uint32_t>());
    // The converter leaves these two to llama.cpp's knowledge of the published models, which the
    // golden ones are not.
    set("attention.scale", float(1.0 / std::sqrt(config_.at("query_pre_attn_scalar").get<double>())));
    std::vector<uint8_t> sliding;
    for (const json& type : config_.at("layer_types")) sliding.push_back(type == "sliding_attention");
    out_.array<uint8_t>(prefix_ + "attention.sliding_window_pattern", GgufType::kBool, sliding);
    if (is("gemma2")) {
      set("attn_logit_softcapping", config_.at("attn_logit_softcapping").get<float>());
      set("final_logit_softcapping", config_.at("final_logit_softcapping").get<float>());
    }
  }

  mx::array changed(const std::string& name, const mx::array& a) const {
    const bool llama = is("llama") || is("mistral") || is("mixtral") || is("granite") || is("smollm3");
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (llama && has("q_proj.")) return permute(a, heads());
    if (llama && has("k_proj.")) return permute(a, kv_heads());
    if (type_.starts_with("gemma") && name.ends_with("norm.weight")) return a + mx::array(1.0f);
    if (is("gpt_neox") && has("query_key_value.")) return split_qkv(a, heads());
    if (is("gpt2") && (name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") ||
                       name.ends_with("c_fc.weight"))) {
      return mx::transpose(a);
    }
    return a;
  }

  // The number of an expert or a head in a name, which decides its place in the stack.
  static int number_of(const std::string& name) {
    for (const std::string_view part : {".experts.", ".norms."}) {
      const size_t at = name.find(part);
      if (at != std::string::npos) return std::stoi(name.substr(at + part.size()));
    }
    return 0;
  }

  void put_tensors() {
    std::map<std::string, std::map<int, mx::array>> parts;  // GGUF name, place in the stack
    for (const auto& [name, gguf] : names_.at("tensors").items()) {
      parts[gguf.get<std::string>()].emplace(number_of(name), changed(name, tensors_.at(name)));
    }
    for (const auto& [name, stack] : parts) {
      std::vector<mx::array> arrays;
      for (const auto& [place, array] : stack) arrays.push_back(array);
      const bool stacked = name.ends_with("_exps.weight") || (is("stablelm") && arrays.size() > 1);
      const mx::array whole = stacked ? mx::stack(arrays) : arrays.front();
      put_tensor(name, whole);
    }
  }

  void put_tensor(const std::string& name, const mx::array& a) {
    const std::vector<uint64_t> shape(a.shape().begin(), a.shape().end());
    const bool plain = a.ndim() < 2 || a.shape(-1) % 32 != 0 ||
                       name.find("ffn_gate_inp") != std::string::npos || name.starts_with("position_embd");
    if (!quantised_ || plain) {
      out_.floats(name, shape, floats_of(a));
      return;
    }
    constexpr uint32_t kQ4_0 = 2, kQ8_0 = 8;
    const bool wide = ++matrices_ % 2 == 1;
    out_.tensor(name, shape, wide ? kQ8_0 : kQ4_0, blocks(floats_of(a), wide ? 127 : 7));
  }

  const json& names_;
  bool quantised_;
  int matrices_ = 0;
  json config_;
  std::map<std::string, mx::array> tensors_;
  std::string type_, prefix_;
  GgufBuilder out_;
};

}  // namespace

GgufBuilder gguf_of_golden(const std::filesystem::path& models, const std::string& family, bool quantised) {
  return Converter(models / family, family, quantised).convert();
}

std::vector<std::string> gguf_golden_families() {
  std::vector<std::string> families;
  for (const auto& [family, entry] : all_names().items()) families.push_back(family);
  return families;
}

}  // namespace genkit::io::testing

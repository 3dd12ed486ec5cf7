#include "genkit/io/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/io/gguf_rope.h"

namespace genkit::io {
namespace {

using nlohmann::json;

double shortest(double value) {
  return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
}

// Keys below the architecture's name that this file reads, or that say nothing about the
// mathematics. Any other one is refused: it may change what the model computes.
constexpr std::array<std::string_view, 48> kKnownKeys{
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "tensor_data_layout",
    "use_parallel_residual",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_weights_norm",
    "expert_weights_scale",
    "expert_gating_func",
    "nextn_predict_layers",
    "pooling_type",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
};

class ConfigBuilder {
 public:
  ConfigBuilder(const GgufSet& set, const GgufFamily& family)
      : set_(set), file_(set.metadata()), family_(family), prefix_(std::string(family.architecture) + ".") {}

  json build() {
    refuse_unknown_keys();
    put_sizes();
    put_tokens();
    put_norm_eps();
    if (family_.model_type != "gpt2") put_rope();
    put_family();
    return std::move(config_);
  }

 private:
  bool is(std::string_view model_type) const { return family_.model_type == model_type; }
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  bool has_tensor(std::string_view name) const { return set_.has(name); }
  std::optional<double> number(std::string_view name) const {
    const auto value = file_.find_number(key(name));
    return value ? std::optional(shortest(*value)) : std::nullopt;
  }
  std::optional<int64_t> integer(std::string_view name) const { return file_.find_integer(key(name)); }

  // An integer, or an array that has the same one for every layer.
  std::optional<int64_t> uniform(std::string_view name) const {
    if (!file_.is_array(key(name))) return integer(name);
    const auto values = *file_.find_integers(key(name));
    if (values.empty()) return std::nullopt;
    if (std::any_of(values.begin(), values.end(), [&](int64_t v) { return v != values.front(); })) {
      file_.fail(key(name), "layers of different sizes are not supported");
    }
    return values.front();
  }

  // A positive number of 31 bits: what HF's readers accept as a size.
  int64_t size(std::string_view name) const {
    const auto value = uniform(name);
    if (!value) file_.fail(key(name), "missing");
    return checked(name, *value);
  }
  int64_t checked(std::string_view name, int64_t value) const {
    if (value < 1 || value > (int64_t{1} << 30)) {
      file_.fail(key(name), fmt::format("expected 1 to {}, got {}", int64_t{1} << 30, value));
    }
    return value;
  }

  void refuse_unknown_keys() const {
    for (const auto& [name, value] : file_.metadata()) {
      if (!name.starts_with(prefix_)) continue;
      const std::string_view rest = name.substr(prefix_.size());
      if (std::find(kKnownKeys.begin(), kKnownKeys.end(), rest) == kKnownKeys.end()) {
        file_.fail(name, "not understood, and it may change what the model computes");
      }
    }
    if (file_.find_bool(key("attention.causal")) == false) {
      file_.fail(key("attention.causal"), "only causal attention is supported");
    }
    for (const std::string_view name : {"attention.clamp_kqv", "attention.max_alibi_bias"}) {
      if (file_.find_number(key(name)).value_or(0) != 0) file_.fail(key(name), "not supported");
    }
    for (const auto& [swa, all] : {std::pair{"attention.key_length_swa", "attention.key_length"},
                                   std::pair{"attention.value_length_swa", "attention.value_length"},
                                   std::pair{"rope.dimension_count_swa", "rope.dimension_count"}}) {
      if (integer(swa) && integer(all) && integer(swa) != integer(all)) {
        file_.fail(key(swa), fmt::format("differs from {}, which is not supported", key(all)));
      }
    }
  }

  void put_sizes() {
    const bool gpt2 = is("gpt2");
    config_["model_type"] = family_.model_type;
    hidden_ = size("embedding_length");
    heads_ = size("attention.head_count");
    layers_ = size("block_count") - integer("nextn_predict_layers").value_or(0);
    if (layers_ < 1 || layers_ > int64_t(set_.tensors().size())) {
      file_.fail(key("block_count"),
                 fmt::format("{} layers in a file of {} tensors", layers_, set_.tensors().size()));
    }
    const int64_t kv_heads = uniform("attention.head_count_kv") ? size("attention.head_count_kv") : heads_;
    head_dim_ = integer("attention.key_length") ? size("attention.key_length") : hidden_ / heads_;
    if (head_dim_ < 1) {
      file_.fail(key("attention.head_count"), fmt::format("{} heads share {} numbers", heads_, hidden_));
    }
    if (const auto value = integer("attention.value_length"); value && *value != head_dim_) {
      file_.fail(key("attention.value_length"), "differs from attention.key_length, which is not supported");
    }
    const GgufTensor* embedding = set_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2) {
      file_.fail("token_embd.weight", "expected a matrix [vocabulary, hidden]");
    }
    config_["vocab_size"] = embedding->shape[0];
    config_[gpt2 ? "n_embd" : "hidden_size"] = hidden_;
    config_[gpt2 ? "n_layer" : "num_hidden_layers"] = layers_;
    config_[gpt2 ? "n_head" : "num_attention_heads"] = heads_;
    config_[gpt2 ? "n_positions" : "max_position_embeddings"] = size("context_length");
    config_[gpt2 ? "n_inner" : "intermediate_size"] = size("feed_forward_length");
    if (!gpt2) config_["head_dim"] = head_dim_;
    if (!gpt2 && !is("gpt_neox")) config_["num_key_value_heads"] = kv_heads;
    config_["tie_word_embeddings"] = !has_tensor("output.weight");
    config_["torch_dtype"] = embedding->type_name == "F16"    ? "float16"
                             : embedding->type_name == "BF16" ? "bfloat16"
                                                              : "float32";
  }

  void put_tokens() {
    for (const auto& [name, id] : {std::pair{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                   std::pair{"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                   std::pair{"pad_token_id", "tokenizer.ggml.padding_token_id"}}) {
      const auto value = file_.find_integer(id);
      config_[name] = value ? json(*value) : json(nullptr);
    }
  }

  void put_norm_eps() {
    const bool layer_norm =
        is("gpt2") || is("gpt_neox") || is("stablelm") || is("cohere") || is("starcoder2");
    const char* name = layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    const auto eps = number(name);
    if (!eps) file_.fail(key(name), "missing");
    config_[is("gpt2")         ? "layer_norm_epsilon"
            : is("starcoder2") ? "norm_epsilon"
            : layer_norm       ? "layer_norm_eps"
                               : "rms_norm_eps"] = *eps;
  }

  void put_rope() {
    // llama.cpp's default; gemma 3 files without the key are older than it and mean this.
    config_["rope_theta"] = number("rope.freq_base").value_or(is("gemma3_text") ? 1e6 : 10000.0);
    const int64_t rotated = integer("rope.dimension_count").value_or(head_dim_);
    if (rotated < 1 || rotated > head_dim_) {
      file_.fail(key("rope.dimension_count"), fmt::format("expected 1 to {}, got {}", head_dim_, rotated));
    }
    if (rotated != head_dim_) {
      config_[is("gpt_neox") ? "rotary_pct" : "partial_rotary_factor"] = double(rotated) / double(head_dim_);
    } else if (is("gpt_neox")) {
      config_["rotary_pct"] = 1.0;
    } else if (is("stablelm") || is("glm4")) {
      config_["partial_rotary_factor"] = 1.0;
    }
    GgufRope rope(set_, prefix_, int(rotated), config_);
    const json scaling = rope.scaling();
    if (!scaling.is_null()) config_["rope_scaling"] = scaling;
  }

  void put_family() {
    if (is("llama") || is("granite") || is("smollm3")) {
      config_["attention_bias"] = has_tensor("blk.0.attn_q.bias");
      config_["mlp_bias"] = has_tensor("blk.0.ffn_gate.bias");
    } else if (is("qwen3") || is("qwen3_moe") || is("olmo2") || is("glm4") || is("cohere")) {
      config_["attention_bias"] = has_tensor("blk.0.attn_q.bias");
    } else if (is("gpt_neox")) {
      config_["attention_bias"] = has_tensor("blk.0.attn_qkv.bias");
      config_["use_parallel_residual"] = file_.find_bool(key("use_parallel_residual")).value_or(true);
    } else if (is("stablelm")) {
      config_["use_qkv_bias"] = has_tensor("blk.0.attn_q.bias");
      config_["qk_layernorm"] = has_tensor("blk.0.attn_q_norm.weight");
      config_["use_parallel_residual"] = !has_tensor("blk.0.ffn_norm.weight");
    } else if (is("starcoder2")) {
      config_["use_bias"] = has_tensor("blk.0.attn_q.bias");
      config_["sliding_window"] = nullptr;
    } else if (is("gpt2")) {
      config_["activation_function"] = "gelu_new";
    }
    if (is("cohere")) {
      config_["use_qk_norm"] = has_tensor("blk.0.attn_q_norm.weight");
      config_["logit_scale"] = number("logit_scale").value_or(1.0);
    }
    if (is("granite")) put_granite();
    if (is("mixtral") || is("qwen3_moe")) put_experts();
    if (is("gemma") || is("gemma2") || is("gemma3_text")) put_gemma();
    if (is("phi3")) put_phi3();
    put_sliding_window();
  }

  void put_granite() {
    const auto put = [&](const char* name, const char* gguf, double neutral) {
      config_[name] = number(gguf).value_or(neutral);
    };
    put("embedding_multiplier", "embedding_scale", 1.0);
    put("residual_multiplier", "residual_scale", 1.0);
    put("attention_multiplier", "attention.scale", shortest(1.0 / std::sqrt(double(head_dim_))));
    put("logits_scaling", "logit_scale", 1.0);
  }

  void put_experts() {
    config_["num_local_experts"] = size("expert_count");
    config_["num_experts_per_tok"] = size("expert_used_count");
    // Softmax is the default of these families; the numbers are ggml's.
    if (integer("expert_gating_func").value_or(1) != 1) {
      file_.fail(key("expert_gating_func"), "only softmax (1) is supported");
    }
    if (const double scale = number("expert_weights_scale").value_or(1.0); scale != 1.0 && scale != 0.0) {
      file_.fail(key("expert_weights_scale"), fmt::format("expected 1, got {}", scale));
    }
    if (is("mixtral")) {
      config_["sliding_window"] = nullptr;
      return;
    }
    config_["moe_intermediate_size"] = size("expert_feed_forward_length");
    config_["norm_topk_prob"] = file_.find_bool(key("expert_weights_norm")).value_or(true);
    config_["decoder_sparse_step"] = 1;
    json dense = json::array();
    for (int64_t layer = 0; layer < layers_; ++layer) {
      if (!has_tensor(fmt::format("blk.{}.ffn_gate_inp.weight", layer))) dense.push_back(layer);
    }
    config_["mlp_only_layers"] = dense;
  }

  void put_gemma() {
    config_[is("gemma") ? "hidden_act" : "hidden_activation"] = "gelu_pytorch_tanh";
    if (is("gemma")) return;
    // The 27B models scale by hidden size over heads, all others by the head's length.
    const bool largest = layers_ == (is("gemma2") ? 46 : 62);
    double scalar = largest ? double(hidden_) / double(heads_) : double(head_dim_);
    if (const auto scale = file_.find_number(key("attention.scale"))) {
      scalar = 1.0 / (*scale * *scale);
      // A whole number once, before its root was rounded to fp32.
      if (std::abs(scalar - std::round(scalar)) < 1e-5 * scalar) scalar = std::round(scalar);
    }
    config_["query_pre_attn_scalar"] = scalar;
    if (is("gemma2")) {
      config_["attn_logit_softcapping"] = number("attn_logit_softcapping").value_or(50.0);
      config_["final_logit_softcapping"] = number("final_logit_softcapping").value_or(30.0);
      return;
    }
    const auto softcap = number("final_logit_softcapping");
    config_["final_logit_softcapping"] = softcap ? json(*softcap) : json(nullptr);
    config_["rope_local_base_freq"] = number("rope.freq_base_swa").value_or(10000.0);
  }

  void put_phi3() {
    config_["original_max_position_embeddings"] =
        integer("rope.scaling.original_context_length").value_or(config_["max_position_embeddings"]);
  }

  void put_sliding_window() {
    const int64_t window = integer("attention.sliding_window").value_or(0);
    const bool alternating = is("gemma2") || is("gemma3_text");
    const std::string pattern_key = key("attention.sliding_window_pattern");
    if (!alternating && !is("phi3")) {
      if (window != 0) file_.fail(key("attention.sliding_window"), "not supported for this architecture");
      if (file_.has(pattern_key)) file_.fail(pattern_key, "not supported for this architecture");
      return;
    }
    if (is("phi3")) {
      config_["sliding_window"] = window == 0 ? json(nullptr) : json(window);
      return;
    }
    std::vector<bool> sliding(static_cast<size_t>(layers_), false);
    int64_t period = is("gemma2") ? 2 : 6;
    if (file_.is_array(pattern_key)) {
      const auto pattern = *file_.find_integers(pattern_key);
      if (int64_t(pattern.size()) < layers_) file_.fail(pattern_key, "fewer entries than layers");
      for (size_t i = 0; i < sliding.size(); ++i) sliding[i] = pattern[i] != 0;
      period = 0;
    } else if (const auto stated = file_.find_integer(pattern_key)) {
      period = checked("attention.sliding_window_pattern", *stated);
    }
    for (size_t i = 0; i < sliding.size() && period != 0 && window != 0; ++i) {
      sliding[i] = int64_t(i + 1) % period != 0;
    }
    json types = json::array();
    for (const bool s : sliding) types.push_back(s ? "sliding_attention" : "full_attention");
    config_["layer_types"] = types;
    if (window != 0) config_["sliding_window"] = checked("attention.sliding_window", window);
  }

  const GgufSet& set_;
  const GgufFile& file_;
  const GgufFamily& family_;
  std::string prefix_;
  json config_ = json::object();
  int64_t hidden_ = 0, heads_ = 0, head_dim_ = 0, layers_ = 0;
};

}  // namespace

json gguf_config(const GgufSet& set, const GgufFamily& family) { return ConfigBuilder(set, family).build(); }

json gguf_generation_config(const GgufFile& file) {
  json out = json::object();
  for (const auto& [name, key] : {std::pair{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                  std::pair{"pad_token_id", "tokenizer.ggml.padding_token_id"}}) {
    if (const auto id = file.find_integer(key)) out[name] = *id;
  }
  json ends = json::array();
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto id = file.find_integer(key);
    if (id && std::find(ends.begin(), ends.end(), json(*id)) == ends.end()) ends.push_back(*id);
  }
  if (ends.size() == 1) out["eos_token_id"] = ends[0];
  if (ends.size() > 1) out["eos_token_id"] = ends;
  bool sampling = false;
  for (const auto& [name, key] :
       {std::pair{"temperature", "general.sampling.temp"}, std::pair{"top_p", "general.sampling.top_p"},
        std::pair{"min_p", "general.sampling.min_p"},
        std::pair{"repetition_penalty", "general.sampling.penalty_repeat"}}) {
    const auto value = file.find_number(key);
    if (!value) continue;
    out[name] = shortest(*value);
    sampling = sampling || std::string_view(name) != "repetition_penalty";
  }
  if (const auto top_k = file.find_integer("general.sampling.top_k")) {
    out["top_k"] = *top_k;
    sampling = true;
  }
  // llama.cpp, for which these are written, samples unless told otherwise.
  if (sampling) out["do_sample"] = true;
  return out.empty() ? json(nullptr) : out;
}

}  // namespace genkit::io

#include "genkit/io/gguf_names.h"

#include <array>
#include <cctype>

namespace genkit::io {
namespace {

using Row = GgufNameRow;

constexpr Row kGlobal[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr Row kGpt2Global[] = {{"token_embd", "transformer.wte"},
                               {"position_embd", "transformer.wpe"},
                               {"output_norm", "transformer.ln_f"},
                               {"output", "lm_head"}};
constexpr Row kNeoxGlobal[] = {{"token_embd", "gpt_neox.embed_in"},
                               {"output_norm", "gpt_neox.final_layer_norm"},
                               {"output", "embed_out"}};

// What most decoders share. A family's own rows come first.
constexpr Row kLayer[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", GgufChange::kRopeQuery},
    {"attn_k", "self_attn.k_proj", GgufChange::kRopeKey},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
constexpr Row kPostNormLayer[] = {{"post_attention_norm", "post_attention_layernorm"},
                                  {"post_ffw_norm", "post_feedforward_layernorm"},
                                  {"ffn_norm", "pre_feedforward_layernorm"}};
constexpr Row kPhi3Layer[] = {{"attn_qkv", "self_attn.qkv_proj"}, {"ffn_up", "mlp.gate_up_proj"}};
constexpr Row kGlm4Layer[] = {{"post_attention_norm", "post_self_attn_layernorm"},
                              {"post_ffw_norm", "post_mlp_layernorm"},
                              {"ffn_up", "mlp.gate_up_proj"}};
constexpr Row kStarcoder2Layer[] = {{"ffn_up", "mlp.c_fc"}, {"ffn_down", "mlp.c_proj"}};
constexpr Row kStablelmLayer[] = {{"attn_q_norm", "self_attn.q_layernorm.norms", GgufChange::kHeadNorms},
                                  {"attn_k_norm", "self_attn.k_layernorm.norms", GgufChange::kHeadNorms}};
constexpr Row kQwen3MoeLayer[] = {{"ffn_gate_inp", "mlp.gate"},
                                  {"ffn_gate_exps", "mlp.experts.gate_proj"},
                                  {"ffn_up_exps", "mlp.experts.up_proj"},
                                  {"ffn_down_exps", "mlp.experts.down_proj"}};
constexpr Row kMixtralLayer[] = {{"ffn_gate_inp", "block_sparse_moe.gate"},
                                 {"ffn_gate_exps", "block_sparse_moe.experts.w1"},
                                 {"ffn_up_exps", "block_sparse_moe.experts.w3"},
                                 {"ffn_down_exps", "block_sparse_moe.experts.w2"}};
constexpr Row kGpt2Layer[] = {{"attn_norm", "ln_1"},          {"attn_qkv", "attn.c_attn"},
                              {"attn_output", "attn.c_proj"}, {"ffn_norm", "ln_2"},
                              {"ffn_up", "mlp.c_fc"},         {"ffn_down", "mlp.c_proj"}};
constexpr Row kNeoxLayer[] = {{"attn_qkv", "attention.query_key_value", GgufChange::kQkvBlocks},
                              {"attn_output", "attention.dense"},
                              {"ffn_up", "mlp.dense_h_to_4h"},
                              {"ffn_down", "mlp.dense_4h_to_h"}};

constexpr std::string_view kModel = "model.layers.";

/// @source llama.cpp: conversion/*.py for what is stored changed, gguf-py/gguf/constants.py for names.
constexpr GgufFamily kFamilies[] = {
    {"llama", "llama", kModel, kGlobal, {}, false, true},
    {"llama", "mixtral", kModel, kGlobal, kMixtralLayer, false, true},
    {"qwen2", "qwen2", kModel, kGlobal, {}},
    {"qwen3", "qwen3", kModel, kGlobal, {}},
    {"qwen3moe", "qwen3_moe", kModel, kGlobal, kQwen3MoeLayer},
    {"gemma", "gemma", kModel, kGlobal, {}, true},
    {"gemma2", "gemma2", kModel, kGlobal, kPostNormLayer, true},
    {"gemma3", "gemma3_text", kModel, kGlobal, kPostNormLayer, true},
    {"phi3", "phi3", kModel, kGlobal, kPhi3Layer},
    {"olmo2", "olmo2", kModel, kGlobal, kPostNormLayer},
    {"granite", "granite", kModel, kGlobal, {}, false, true},
    {"smollm3", "smollm3", kModel, kGlobal, {}, false, true},
    {"gpt2", "gpt2", "transformer.h.", kGpt2Global, kGpt2Layer},
    {"gptneox", "gpt_neox", "gpt_neox.layers.", kNeoxGlobal, kNeoxLayer},
    {"stablelm", "stablelm", kModel, kGlobal, kStablelmLayer},
    {"command-r", "cohere", kModel, kGlobal, {}},
    {"starcoder2", "starcoder2", kModel, kGlobal, kStarcoder2Layer},
    {"glm4", "glm4", kModel, kGlobal, kGlm4Layer},
};

const Row* find_row(std::span<const Row> rows, std::string_view part) {
  for (const Row& row : rows) {
    if (row.gguf == part) return &row;
  }
  return nullptr;
}

std::string_view digits_of(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && std::isdigit(static_cast<unsigned char>(text[n])) != 0) ++n;
  return text.substr(0, n);
}

GgufName make_name(const GgufFamily& family, std::string_view before, const Row& row,
                   std::string_view suffix) {
  GgufName name{std::string(before) + std::string(row.hf) + std::string(suffix), row.change};
  const bool rope = name.change == GgufChange::kRopeQuery || name.change == GgufChange::kRopeKey;
  if (rope && !family.rope_permuted) name.change = GgufChange::kNone;
  if (family.norms_plus_one && row.gguf.ends_with("norm") && suffix == ".weight") {
    name.change = GgufChange::kPlusOne;
  }
  return name;
}

// Files made before experts were stacked: "ffn_gate.3" is expert 3's matrix.
std::optional<GgufName> single_expert(const GgufFamily& family, std::string_view before,
                                      std::string_view part, std::string_view suffix) {
  const size_t dot = part.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == part.size()) return std::nullopt;
  const std::string_view expert = part.substr(dot + 1);
  if (digits_of(expert) != expert) return std::nullopt;
  const Row* row = find_row(family.layer, std::string(part.substr(0, dot)) + "_exps");
  if (row == nullptr) return std::nullopt;
  const size_t leaf = row->hf.rfind('.');
  return GgufName{std::string(before) + std::string(row->hf.substr(0, leaf + 1)) + std::string(expert) +
                      std::string(row->hf.substr(leaf)) + std::string(suffix),
                  GgufChange::kNone};
}

}  // namespace

const GgufFamily* find_gguf_family(std::string_view architecture, bool has_experts) {
  for (const GgufFamily& family : kFamilies) {
    if (family.architecture != architecture) continue;
    if (architecture == "llama" && (family.model_type == "mixtral") != has_experts) continue;
    return &family;
  }
  return nullptr;
}

std::string gguf_architectures() {
  std::string names;
  std::string_view last;
  for (const GgufFamily& family : kFamilies) {
    if (family.architecture == last) continue;
    last = family.architecture;
    names += (names.empty() ? "" : ", ") + std::string(last);
  }
  return names;
}

std::optional<GgufName> hf_name(const GgufFamily& family, std::string_view gguf_name) {
  if (gguf_name.starts_with("rope_f") || gguf_name.find(".rope_f") != std::string_view::npos ||
      gguf_name.find("attn_rot_embd") != std::string_view::npos) {
    return std::nullopt;
  }
  const GgufName unknown{std::string(gguf_name), GgufChange::kNone};
  const size_t dot = gguf_name.rfind('.');
  if (dot == std::string_view::npos) return unknown;
  std::string_view part = gguf_name.substr(0, dot);
  const std::string_view suffix = gguf_name.substr(dot);
  if (const Row* row = find_row(family.global, part)) return make_name(family, "", *row, suffix);
  if (!part.starts_with("blk.")) return unknown;
  part.remove_prefix(4);
  const std::string_view number = digits_of(part);
  if (number.empty() || part.size() <= number.size() + 1 || part[number.size()] != '.') return unknown;
  part.remove_prefix(number.size() + 1);
  const std::string before = std::string(family.layers) + std::string(number) + ".";
  if (const Row* row = find_row(family.layer, part)) return make_name(family, before, *row, suffix);
  if (const Row* row = find_row(kLayer, part)) return make_name(family, before, *row, suffix);
  if (auto expert = single_expert(family, before, part, suffix)) return expert;
  return unknown;
}

}  // namespace genkit::io

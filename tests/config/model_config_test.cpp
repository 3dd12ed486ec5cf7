#include "genkit/config/model_config.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/config/model_fields.h"

namespace genkit::config {
namespace {

using nlohmann::json;

/// The least that a llama needs to say.
json llama() {
  return {{"model_type", "llama"},    {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 128}, {"num_hidden_layers", 3}, {"num_attention_heads", 4}};
}

json with(json base, const json& changes) {
  for (const auto& [key, value] : changes.items()) base[key] = value;
  return base;
}

json without(json base, const char* key) {
  base.erase(key);
  return base;
}

std::string error_of(const json& file) {
  try {
    ModelConfig::from_json(file);
  } catch (const FormatError& e) {
    return e.what();
  }
  return "no error";
}

TEST(ModelConfig, DefaultsOfTheFamily) {
  const ModelConfig c = ModelConfig::from_json(llama());
  EXPECT_EQ(c.family, Family::kLlama);
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.hidden_act, "silu");
  EXPECT_EQ(c.norm_eps, 1e-6);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_EQ(c.max_position_embeddings, 2048);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_EQ(c.rope.dims, 16);
  EXPECT_EQ(c.eos_token_id, std::vector<int32_t>{2});
  EXPECT_EQ(c.layer_kinds, std::vector<LayerKind>(3, LayerKind::kFull));
}

TEST(ModelConfig, GoldenFilesInBothFormsSayTheSame) {
  const auto root = std::filesystem::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models";
  int pairs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!std::filesystem::exists(entry.path() / "config_v4.json")) continue;
    SCOPED_TRACE(entry.path().filename());
    const ModelConfig a = ModelConfig::from_json(read_json_file(entry.path() / "config.json"));
    const ModelConfig b = ModelConfig::from_json(read_json_file(entry.path() / "config_v4.json"));
    EXPECT_EQ(a.rope.type, b.rope.type);
    EXPECT_EQ(a.rope.theta, b.rope.theta);
    EXPECT_EQ(a.rope.factor, b.rope.factor);
    EXPECT_EQ(a.rope.dims, b.rope.dims);
    EXPECT_EQ(a.rope.short_factor, b.rope.short_factor);
    EXPECT_EQ(a.rope.original_max_position_embeddings, b.rope.original_max_position_embeddings);
    EXPECT_EQ(a.rope_local.type, b.rope_local.type);
    EXPECT_EQ(a.rope_local.theta, b.rope_local.theta);
    EXPECT_EQ(a.layer_kinds, b.layer_kinds);
    EXPECT_EQ(a.sliding_window, b.sliding_window);
    EXPECT_EQ(a.layer_uses_rope, b.layer_uses_rope);
    EXPECT_EQ(a.tie_word_embeddings, b.tie_word_embeddings);
    EXPECT_EQ(a.moe.num_experts, b.moe.num_experts);
    EXPECT_EQ(a.eos_token_id, b.eos_token_id);
    EXPECT_EQ(a.dtype, "float32");
    EXPECT_EQ(b.dtype, "float32");
    ++pairs;
  }
  EXPECT_GE(pairs, 20);
}

TEST(ModelConfig, NoFamilyMeetsAKeyTwice) {
  for (const FieldRow& a : model_field_rows()) {
    for (const FieldRow& b : model_field_rows()) {
      if (&a == &b || (a.families & b.families) == 0) continue;
      for (const auto key : {b.key, b.old_key}) {
        if (!key.empty()) EXPECT_TRUE(a.key != key && a.old_key != key) << a.key;
      }
    }
    if (a.fallback != kRequired && a.fallback != kDerived) EXPECT_TRUE(json::accept(a.fallback)) << a.key;
  }
}

TEST(ModelConfig, MissingAndWrongFields) {
  EXPECT_EQ(error_of(json::array()), "config.json: expected an object, got a list");
  EXPECT_EQ(error_of(without(llama(), "model_type")), "config.json: model_type: missing");
  EXPECT_EQ(error_of(without(llama(), "hidden_size")), "config.json: hidden_size: missing");
  EXPECT_EQ(error_of(with(llama(), {{"hidden_size", "64"}})),
            "config.json: hidden_size: expected an integer, got a string");
  EXPECT_EQ(error_of(with(llama(), {{"hidden_size", nullptr}})),
            "config.json: hidden_size: expected a number, got null");
  EXPECT_EQ(error_of(with(llama(), {{"num_hidden_layers", -1}})),
            "config.json: num_hidden_layers: expected an integer from 1 to 10000, got -1");
  EXPECT_EQ(error_of(with(llama(), {{"vocab_size", 1000000000000}})),
            "config.json: vocab_size: expected an integer from 1 to 16777216, got 1000000000000");
  EXPECT_EQ(error_of(with(llama(), {{"num_attention_heads", 5}})),
            "config.json: num_attention_heads: 5 does not divide hidden_size, 64");
  EXPECT_EQ(error_of(with(llama(), {{"num_key_value_heads", 3}})),
            "config.json: num_key_value_heads: 3 does not divide num_attention_heads, 4");
  EXPECT_EQ(
      error_of(with(llama(), {{"head_dim", 15}})),
      "config.json: head_dim: a head of 15 numbers leaves 15 to rotate; expected an even number above 0");
  EXPECT_EQ(error_of(with(llama(), {{"attention_bias", 1}})),
            "config.json: attention_bias: expected true or false, got 1");
  EXPECT_EQ(error_of(with(llama(), {{"hidden_act", "softplus"}})),
            "config.json: hidden_act: unknown activation \"softplus\"");
  EXPECT_EQ(error_of(with(llama(), {{"eos_token_id", {2, "x"}}})),
            "config.json: eos_token_id[1]: expected an integer, got a string");
}

TEST(ModelConfig, UnknownModelTypeListsTheSupportedOnes) {
  const std::string message = error_of(with(llama(), {{"model_type", "mamba"}}));
  EXPECT_EQ(message.find("config.json: model_type: \"mamba\" is not supported; supported: cohere, gemma,"),
            0u)
      << message;
  for (const std::string_view type : supported_model_types())
    EXPECT_NE(message.find(type), std::string::npos) << type;
}

TEST(ModelConfig, FieldsThatMayChangeTheMathematicsAreNotPassedOver) {
  EXPECT_EQ(
      error_of(with(llama(), {{"alibi_bias_max", 8}})),
      "config.json: alibi_bias_max: not understood for model_type \"llama\", and it might change what the "
      "model "
      "computes; if it does not, add \"alibi_bias_max\" to a list \"mlx_genkit_ignored_fields\" in the file");
  // A field of another family.
  EXPECT_NE(
      error_of(with(llama(), {{"sliding_window", 8}})).find("config.json: sliding_window: not understood"),
      std::string::npos);
  EXPECT_NE(error_of(with(llama(), {{"use_bidirectional_attention", true}})), "no error");
  // The owner of the file may vouch for it.
  EXPECT_EQ(
      error_of(with(llama(), {{"alibi_bias_max", 8}, {"mlx_genkit_ignored_fields", {"alibi_bias_max"}}})),
      "no error");
  // Neutral values, bookkeeping, and what says what is done anyway.
  for (const json& harmless :
       {json{{"sliding_window", nullptr}}, json{{"use_mrope", false}}, json{{"num_experts", 0}},
        json{{"extra", json::array()}}, json{{"_name_or_path", "x/y"}}, json{{"initializer_range", 0.02}},
        json{{"attention_dropout", 0.1}}, json{{"pretraining_tp", 2}}, json{{"rope_interleaved", false}},
        json{{"full_attn_mod", 1}}, json{{"id2label", {{"0", "a"}}}},
        json{{"transformers_version", "5.0"}}}) {
    EXPECT_EQ(error_of(with(llama(), harmless)), "no error") << harmless;
  }
  EXPECT_NE(error_of(with(llama(), {{"full_attn_mod", 2}})), "no error");
}

TEST(ModelConfig, RopeOfBothForms) {
  const json scaling = {{"type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 512}};
  const ModelConfig older =
      ModelConfig::from_json(with(llama(), {{"rope_theta", 500000}, {"rope_scaling", scaling}}));
  json parameters = scaling;
  parameters["rope_theta"] = 500000;
  const ModelConfig newer = ModelConfig::from_json(with(llama(), {{"rope_parameters", parameters}}));
  for (const ModelConfig& c : {older, newer}) {
    EXPECT_EQ(c.rope.type, RopeType::kLlama3);
    EXPECT_EQ(c.rope.theta, 500000.0);
    EXPECT_EQ(c.rope.factor, 8.0);
    EXPECT_EQ(c.rope.original_max_position_embeddings, 512);
  }
}

TEST(ModelConfig, RopeErrors) {
  const auto scaled = [](const json& scaling) {
    return error_of(with(llama(), {{"rope_scaling", scaling}}));
  };
  EXPECT_EQ(scaled("linear"), "config.json: rope_scaling: expected an object, got a string");
  EXPECT_EQ(scaled({{"type", "linear"}}), "config.json: rope_scaling.factor: missing");
  EXPECT_EQ(scaled({{"type", "linear"}, {"factor", "2"}}),
            "config.json: rope_scaling.factor: expected a number, got a string");
  EXPECT_EQ(scaled({{"type", "linear"}, {"factor", 0}}),
            "config.json: rope_scaling.factor: expected a number above 0, got 0");
  EXPECT_EQ(scaled({{"rope_type", "spiral"}}),
            "config.json: rope_scaling.rope_type: unknown rope type \"spiral\"; supported: default, linear, "
            "dynamic, "
            "llama3, yarn, longrope");
  EXPECT_EQ(
      scaled({{"rope_type", "default"}, {"mrope_section", {1, 2}}}),
      "config.json: rope_scaling.mrope_section: not understood; remove it if it does not change the rotary "
      "embedding");
  EXPECT_EQ(scaled({{"rope_type", "longrope"}, {"short_factor", {1.0, 2.0}}, {"long_factor", {1.0, 2.0}}}),
            "config.json: rope_scaling.short_factor: expected 8 numbers, one a rotated pair, got 2");
  EXPECT_EQ(error_of(with(llama(), {{"partial_rotary_factor", 0.5}})),
            "config.json: partial_rotary_factor: this model_type rotates whole heads; expected 1");
  EXPECT_EQ(error_of(with(llama(), {{"rope_theta", -1}})).find("config.json: rope_theta: expected"), 0u);
}

json qwen2() { return with(llama(), {{"model_type", "qwen2"}, {"num_key_value_heads", 2}}); }

TEST(ModelConfig, WindowsByRuleAndByLayerTypes) {
  using K = LayerKind;
  const json sliding = {{"use_sliding_window", true}, {"sliding_window", 8}, {"max_window_layers", 1}};
  EXPECT_EQ(ModelConfig::from_json(with(qwen2(), sliding)).layer_kinds,
            (std::vector<K>{K::kFull, K::kSliding, K::kSliding}));
  EXPECT_EQ(
      ModelConfig::from_json(with(qwen2(), {{"sliding_window", 8}, {"max_window_layers", 1}})).sliding_window,
      0);
  const json listed = with(with(qwen2(), sliding),
                           {{"layer_types", {"sliding_attention", "full_attention", "full_attention"}}});
  EXPECT_EQ(ModelConfig::from_json(listed).layer_kinds, (std::vector<K>{K::kSliding, K::kFull, K::kFull}));
  EXPECT_EQ(error_of(with(qwen2(), {{"layer_types", {"full_attention"}}})),
            "config.json: layer_types: expected 3 entries, one a layer, got 1");
  EXPECT_EQ(
      error_of(with(qwen2(), {{"layer_types", {"full_attention", "chunked_attention", "full_attention"}}})),
      "config.json: layer_types[1]: unknown kind of layer \"chunked_attention\"; supported: full_attention, "
      "sliding_attention");
  EXPECT_EQ(
      error_of(with(qwen2(), {{"layer_types", {"full_attention", "sliding_attention", "full_attention"}}})),
      "config.json: sliding_window: missing, and layer_types names layers of sliding_attention");
  // Mistral's layers are all alike, and slide by default.
  const json mistral = with(qwen2(), {{"model_type", "mistral"}});
  EXPECT_EQ(ModelConfig::from_json(mistral).sliding_window, 4096);
  EXPECT_EQ(ModelConfig::from_json(with(mistral, {{"sliding_window", nullptr}})).layer_kinds[0], K::kFull);
  EXPECT_EQ(
      error_of(with(mistral, {{"layer_types", {"full_attention", "full_attention", "full_attention"}}})),
      "config.json: layer_types: all layers of model_type \"mistral\" are sliding_attention");
}

TEST(ModelConfig, Gemma3TextPartOfAMultimodalFile) {
  const json file = {{"model_type", "gemma3"},
                     {"eos_token_id", {1, 106}},
                     {"vision_config", {{"hidden_size", 1152}}},
                     {"mm_tokens_per_image", 256},
                     {"text_config",
                      {{"model_type", "gemma3_text"},
                       {"hidden_size", 2560},
                       {"intermediate_size", 10240},
                       {"num_hidden_layers", 34},
                       {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                       {"sliding_window", 1024}}}};
  const ModelConfig c = ModelConfig::from_json(file);
  EXPECT_EQ(c.model_type, "gemma3_text");
  EXPECT_EQ(c.vocab_size, 262208);
  EXPECT_EQ(c.head_dim, 256);
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.rope.theta, 1e6);
  EXPECT_EQ(c.rope.type, RopeType::kLinear);
  EXPECT_EQ(c.rope_local.theta, 10000.0);
  EXPECT_EQ(c.rope_local.type, RopeType::kDefault);
  EXPECT_EQ(c.layer_kinds[4], LayerKind::kSliding);
  EXPECT_EQ(c.layer_kinds[5], LayerKind::kFull);
  EXPECT_EQ(c.eos_token_id, (std::vector<int32_t>{1, 106}));
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(error_of(without(file, "text_config")), "config.json: text_config: missing");
  json bad = file;
  bad["text_config"]["hidden_size"] = 0;
  EXPECT_EQ(error_of(bad),
            "config.json: text_config: hidden_size: expected an integer from 1 to 4194304, got 0");
}

TEST(ModelConfig, ExpertsAndDenseLayers) {
  const json moe = with(llama(), {{"model_type", "qwen3_moe"},
                                  {"num_key_value_heads", 2},
                                  {"num_experts", 6},
                                  {"num_experts_per_tok", 2},
                                  {"mlp_only_layers", {0}},
                                  {"decoder_sparse_step", 1}});
  const ModelConfig c = ModelConfig::from_json(moe);
  EXPECT_EQ(c.moe.num_experts, 6);
  EXPECT_FALSE(c.is_sparse(0));
  EXPECT_TRUE(c.is_sparse(1));
  EXPECT_FALSE(ModelConfig::from_json(with(moe, {{"decoder_sparse_step", 2}})).is_sparse(2));
  EXPECT_EQ(error_of(with(moe, {{"num_experts_per_tok", 7}})),
            "config.json: num_experts_per_tok: 7 of only 6 experts");
}

TEST(ModelConfig, SmolLm3LeavesRopeOutOfEveryFourthLayer) {
  const json smol = with(llama(), {{"model_type", "smollm3"}, {"num_hidden_layers", 8}});
  EXPECT_EQ(ModelConfig::from_json(smol).layer_uses_rope, (std::vector<uint8_t>{1, 1, 1, 0, 1, 1, 1, 0}));
  EXPECT_EQ(
      ModelConfig::from_json(with(smol, {{"no_rope_layers", {0, 1, 1, 1, 1, 1, 1, 0}}})).layer_uses_rope[0],
      0);
  EXPECT_EQ(error_of(with(smol, {{"no_rope_layers", {0, 1}}})),
            "config.json: no_rope_layers: expected 8 entries, one a layer, got 2");
}

}  // namespace
}  // namespace genkit::config

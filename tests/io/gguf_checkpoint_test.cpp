#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <fstream>
#include <set>

#include "genkit/base/error.h"
#include "genkit/config/model_config.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/safetensors.h"
#include "genkit/models/registry.h"
#include "golden_gguf.h"
#include "tests/base/temp_folder.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;
using test::message_of;
using test::TempFolder;
using ::testing::ElementsAre;
using testing::gguf_golden_families;
using testing::gguf_of_golden;
using testing::GgufBuilder;
using ::testing::HasSubstr;

const fs::path kModels = fs::path(MLXGK_TEST_DATA) / ".." / "goldens" / "models";

float largest_difference(const mx::array& a, const mx::array& b) {
  return mx::max(mx::abs(a - b)).item<float>();
}

class GgufFamily : public ::testing::TestWithParam<std::string> {
 protected:
  GgufFamily() { path_ = folder_.write("m.gguf", gguf_of_golden(kModels, GetParam()).bytes()); }

  // The golden model's configuration without what GGUF cannot say.
  json expressible_config() const {
    json c = json::parse(std::ifstream(kModels / GetParam() / "config.json"));
    const std::string type = c.at("model_type");
    if (type == "mistral" || type == "qwen2" || type == "starcoder2") c["sliding_window"] = nullptr;
    if (type == "qwen2") {
      c["use_sliding_window"] = false;
      c.erase("layer_types");
    }
    if (type == "smollm3") c.erase("no_rope_layers");
    return c;
  }

  TempFolder folder_;
  fs::path path_;
};

TEST_P(GgufFamily, GivesTheTensorsOfTheFolder) {
  Checkpoint gguf = Checkpoint::open(path_);
  Checkpoint golden = Checkpoint::open(kModels / GetParam());
  EXPECT_EQ(gguf.kind(), CheckpointKind::kGguf);
  const bool gemma = GetParam().starts_with("gemma");
  std::set<std::string> expected;
  for (const std::string& name : golden.names()) {
    const size_t experts = name.find(".experts.");
    if (experts != std::string::npos) {
      const size_t after = name.find('.', experts + 9);
      expected.insert(name.substr(0, experts + 9) + name.substr(after + 1));
      continue;
    }
    expected.insert(name);
    const mx::array want = golden.take_dense(name, golden.shape(name));
    ASSERT_TRUE(gguf.has(name)) << name;
    const mx::array got = gguf.take_dense(name, want.shape());
    // Norms were stored with one added in fp32, which costs their last bits.
    const bool plus_one = gemma && name.ends_with("norm.weight");
    const mx::array one(1.0f);
    EXPECT_EQ(largest_difference(got, plus_one ? (want + one) - one : want), 0.0f) << name;
  }
  const auto names = gguf.names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected);
}

TEST_P(GgufFamily, GivesTheExpertsOfTheFolder) {
  Checkpoint gguf = Checkpoint::open(path_);
  Checkpoint golden = Checkpoint::open(kModels / GetParam());
  for (const std::string& name : gguf.names()) {
    const size_t experts = name.find(".experts.");
    if (experts == std::string::npos) continue;
    const std::string pattern = name.substr(0, experts + 9) + "{}." + name.substr(experts + 9);
    const mx::Shape shape = gguf.shape(name);
    const ops::Weight got = gguf.take_experts(pattern, shape);
    const ops::Weight want = golden.take_experts(pattern, shape);
    EXPECT_EQ(largest_difference(got.data, want.data), 0.0f) << name;
    EXPECT_EQ(got.name, want.name);
  }
}

TEST_P(GgufFamily, GivesTheConfigurationOfTheFolder) {
  const auto got = config::ModelConfig::from_json(Checkpoint::open(path_).config());
  const auto want = config::ModelConfig::from_json(expressible_config());
  EXPECT_EQ(got.vocab_size, want.vocab_size);
  EXPECT_EQ(got.hidden_size, want.hidden_size);
  EXPECT_EQ(got.intermediate_size, want.intermediate_size);
  EXPECT_EQ(got.num_hidden_layers, want.num_hidden_layers);
  EXPECT_EQ(got.num_attention_heads, want.num_attention_heads);
  EXPECT_EQ(got.num_key_value_heads, want.num_key_value_heads);
  EXPECT_EQ(got.head_dim, want.head_dim);
  EXPECT_EQ(got.max_position_embeddings, want.max_position_embeddings);
  EXPECT_EQ(got.hidden_act, want.hidden_act);
  EXPECT_EQ(got.norm_eps, want.norm_eps);
  EXPECT_EQ(got.tie_word_embeddings, want.tie_word_embeddings);
  EXPECT_EQ(got.attention_bias, want.attention_bias);
  EXPECT_EQ(got.mlp_bias, want.mlp_bias);
  EXPECT_EQ(got.use_bias, want.use_bias);
  EXPECT_EQ(got.qk_norm, want.qk_norm);
  EXPECT_EQ(got.use_parallel_residual, want.use_parallel_residual);
  EXPECT_EQ(got.layer_kinds, want.layer_kinds);
  EXPECT_EQ(got.layer_uses_rope, want.layer_uses_rope);
  if (want.sliding_window != 0) EXPECT_EQ(got.sliding_window, want.sliding_window);
  EXPECT_EQ(got.moe.num_experts, want.moe.num_experts);
  EXPECT_EQ(got.moe.num_experts_per_tok, want.moe.num_experts_per_tok);
  EXPECT_EQ(got.moe.norm_topk_prob, want.moe.norm_topk_prob);
  EXPECT_EQ(got.moe.mlp_only_layers, want.moe.mlp_only_layers);
  EXPECT_EQ(got.scale.embedding_multiplier, want.scale.embedding_multiplier);
  EXPECT_EQ(got.scale.residual_multiplier, want.scale.residual_multiplier);
  EXPECT_EQ(got.scale.attention_multiplier, want.scale.attention_multiplier);
  EXPECT_EQ(got.scale.query_pre_attn_scalar, want.scale.query_pre_attn_scalar);
  EXPECT_EQ(got.scale.logits_scaling, want.scale.logits_scaling);
  EXPECT_EQ(got.scale.logit_scale, want.scale.logit_scale);
  EXPECT_EQ(got.scale.attn_logit_softcapping, want.scale.attn_logit_softcapping);
  EXPECT_EQ(got.scale.final_logit_softcapping, want.scale.final_logit_softcapping);
  EXPECT_EQ(got.rope.theta, want.rope.theta);
  EXPECT_EQ(got.rope_local.theta, want.rope_local.theta);
  EXPECT_EQ(got.eos_token_id, want.eos_token_id);
  EXPECT_EQ(got.bos_token_id, want.bos_token_id);
}

// The whole way: both files give the same logits, whatever rope and windows the metadata says.
TEST_P(GgufFamily, ComputesWhatTheFolderComputes) {
  const fs::path folder = folder_.path() / "patched";
  fs::create_directory(folder);
  std::ofstream(folder / "config.json") << expressible_config();
  fs::create_symlink(fs::absolute(kModels / GetParam() / "model.safetensors"), folder / "model.safetensors");
  const auto logits = [](const fs::path& path) {
    Checkpoint checkpoint = Checkpoint::open(path);
    const auto model = models::load_model(checkpoint);
    EXPECT_THAT(checkpoint.report().unused, ElementsAre());
    models::ForwardInput input;
    // Longer than every window and than phi3's border between short and long factors.
    input.tokens = mx::arange(3, 25, 1, mx::int32);
    input.rows.push_back({.length = 22});
    input.logits = models::LogitsFor::kAll;
    mx::array out = *model->forward(input).logits;
    out.eval();
    return out;
  };
  const mx::array want = logits(folder), got = logits(path_);
  const float scale = std::max(1.0f, mx::max(mx::abs(want)).item<float>());
  EXPECT_LE(largest_difference(got, want), 1e-5f * scale);
}

INSTANTIATE_TEST_SUITE_P(All, GgufFamily, ::testing::ValuesIn(gguf_golden_families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace genkit::io

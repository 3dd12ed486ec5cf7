#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <fstream>

#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/safetensors.h"
#include "tests/base/temp_folder.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;
using test::message_of;
using test::TempFolder;
using ::testing::HasSubstr;

const fs::path kModels = fs::path(MLXGK_TEST_DATA) / ".." / "goldens" / "models";
const mx::Device kCpu(mx::Device::cpu);

bool same(const mx::array& a, const mx::array& b) {
  return a.shape() == b.shape() && mx::array_equal(a, b, kCpu).item<bool>();
}

// A folder as mlx_lm.convert writes it, out of a golden model.
class MlxFolder : public ::testing::Test {
 protected:
  void load(const std::string& family) {
    config_ = json::parse(std::ifstream(kModels / family / "config.json"));
    tensors_ = load_safetensors(kModels / family / "model.safetensors");
  }
  // Replaces NAME.weight by its quantised parts and returns its numbers.
  mx::array quantize(const std::string& name, int group_size, int bits, const std::string& mode = "affine",
                     mx::Dtype dtype = mx::float32) {
    const mx::array w = mx::astype(tensors_.at(name + ".weight"), dtype, kCpu);
    const auto parts = mx::quantize(w, group_size, bits, mode, std::nullopt, kCpu);
    tensors_.insert_or_assign(name + ".weight", parts[0]);
    tensors_.insert_or_assign(name + ".scales", parts[1]);
    std::optional<mx::array> biases;
    if (parts.size() > 2) {
      biases = mx::astype(parts[2], mx::float32, kCpu);
      tensors_.insert_or_assign(name + ".biases", parts[2]);
    }
    const mx::array scales = mode == "affine" ? mx::astype(parts[1], mx::float32, kCpu) : parts[1];
    return mx::dequantize(parts[0], scales, biases, group_size, bits, mode, std::nullopt, mx::float32, kCpu);
  }
  Checkpoint open() {
    std::ofstream(folder_.path() / "config.json") << config_;
    save_safetensors(folder_.path() / "model.safetensors", tensors_, {{"format", "mlx"}});
    return Checkpoint::open(folder_.path());
  }
  std::string error() {
    return message_of<FormatError>([&] { open(); });
  }

  TempFolder folder_;
  json config_;
  std::map<std::string, mx::array> tensors_;
};

TEST_F(MlxFolder, ReadsAffineLayersAndLayersThatDiffer) {
  load("llama");
  config_["quantization"] = {{"group_size", 64},
                             {"bits", 4},
                             {"lm_head", false},
                             {"model.layers.0.self_attn.q_proj", {{"group_size", 32}, {"bits", 8}}},
                             {"model.layers.1.self_attn.q_proj", {{"bits", 3}}}};
  config_["quantization_config"] = config_["quantization"];
  const auto plain = quantize("model.layers.0.self_attn.k_proj", 64, 4);
  const auto half = quantize("model.embed_tokens", 64, 4, "affine", mx::bfloat16);
  const auto eight = quantize("model.layers.0.self_attn.q_proj", 32, 8);
  const auto three = quantize("model.layers.1.self_attn.q_proj", 64, 3);
  Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.kind(), CheckpointKind::kMlx);
  const ops::Weight w = checkpoint.take("model.layers.0.self_attn.q_proj.weight", {64, 64});
  EXPECT_EQ(w.format, WeightFormat::kAffine);
  EXPECT_EQ(w.bits, 8);
  EXPECT_EQ(w.group_size, 32);
  EXPECT_TRUE(same(ops::dequantize(w), eight));
  EXPECT_TRUE(same(checkpoint.take_dense("model.layers.0.self_attn.k_proj.weight", {32, 64}), plain));
  EXPECT_TRUE(same(checkpoint.take_dense("model.layers.1.self_attn.q_proj.weight", {64, 64}), three));
  EXPECT_TRUE(same(checkpoint.take_dense("model.embed_tokens.weight", {440, 64}), half));
  EXPECT_EQ(checkpoint.take("lm_head.weight", {440, 64}).format, WeightFormat::kF32);
  EXPECT_FALSE(checkpoint.has("model.embed_tokens.scales"));
  EXPECT_TRUE(checkpoint.has("model.layers.0.self_attn.q_proj.bias"));
}

TEST_F(MlxFolder, ReadsMxfp4AsGgufsBlocks) {
  load("llama");
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}, {"mode", "mxfp4"}};
  const auto expected = quantize("model.layers.0.mlp.up_proj", 32, 4, "mxfp4");
  Checkpoint checkpoint = open();
  const ops::Weight w = checkpoint.take("model.layers.0.mlp.up_proj.weight", {64, 64});
  EXPECT_EQ(w.format, WeightFormat::kMXFP4);
  EXPECT_TRUE(same(ops::dequantize(w), expected));
}

TEST_F(MlxFolder, ReadsStackedQuantisedExperts) {
  load("qwen3_moe");
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
  const std::string layer = "model.layers.1.mlp.";
  std::vector<mx::array> experts;
  for (int e = 0; e < 6; ++e) {
    const std::string name = layer + "experts." + std::to_string(e) + ".up_proj.weight";
    experts.push_back(tensors_.at(name));
    tensors_.erase(name);
  }
  tensors_.emplace(layer + "switch_mlp.up_proj.weight", mx::stack(experts));
  const auto expected = quantize(layer + "switch_mlp.up_proj", 32, 4);
  Checkpoint checkpoint = open();
  const ops::Weight w = checkpoint.take_experts(layer + "experts.{}.up_proj.weight", {6, 32, 64});
  EXPECT_EQ(w.format, WeightFormat::kAffine);
  EXPECT_TRUE(same(ops::dequantize(w), expected));
}

TEST_F(MlxFolder, StacksQuantisedExpertsThatLieApart) {
  load("mixtral");
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
  const std::string layer = "model.layers.0.block_sparse_moe.experts.";
  std::vector<mx::array> expected;
  for (int e = 0; e < 4; ++e) expected.push_back(quantize(layer + std::to_string(e) + ".w1", 32, 4));
  Checkpoint checkpoint = open();
  const ops::Weight w = checkpoint.take_experts(layer + "{}.w1.weight", {4, 64, 64});
  EXPECT_TRUE(same(ops::dequantize(w), mx::stack(expected)));
  EXPECT_EQ(w.name, "model.layers.0.block_sparse_moe.experts.w1.weight");
}

TEST_F(MlxFolder, RefusesOtherQuantisations) {
  load("llama");
  config_["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  EXPECT_EQ(error(),
            "config.json: quantization_config.quant_method: \"gptq\" is not supported; quantised "
            "weights are read from GGUF files and MLX folders");
  config_["quantization_config"] = nullptr;
  config_["quantization"] = {{"group_size", 16}, {"bits", 4}, {"mode", "nvfp4"}};
  EXPECT_EQ(error(), "config.json: quantization.mode: \"nvfp4\" is not supported; affine and mxfp4 are");
  config_["quantization"] = {{"group_size", 64}, {"bits", 7}};
  EXPECT_THAT(error(), HasSubstr("config.json: quantization.bits: expected 2, 3, 4, 5, 6 or 8, got 7"));
  config_["quantization"] = {{"group_size", 48}, {"bits", 4}};
  EXPECT_THAT(error(), HasSubstr("quantization.group_size: expected 32, 64 or 128, got 48"));
  config_["quantization"] = {{"group_size", 64}};
  EXPECT_EQ(error(), "config.json: quantization.bits: missing");
  config_["quantization"] = {{"group_size", 64}, {"bits", 4}, {"lm_head", {{"bits", "8"}}}};
  EXPECT_THAT(error(), HasSubstr("config.json: quantization.lm_head.bits: expected"));
}

TEST_F(MlxFolder, RefusesPartsThatDoNotFit) {
  load("llama");
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
  quantize("lm_head", 64, 4);
  EXPECT_THAT(error(), HasSubstr("model.safetensors: lm_head.weight: weight [440, 8] and scales [440, 1] do "
                                 "not fit 4 bits in groups of 32"));
  config_["quantization"] = {{"group_size", 64}, {"bits", 4}};
  const auto biases = tensors_.at("lm_head.biases");
  tensors_.erase("lm_head.biases");
  EXPECT_THAT(error(), HasSubstr("lm_head.weight: there are scales but no biases"));
  tensors_.emplace("lm_head.biases", mx::astype(biases, mx::float16, kCpu));
  EXPECT_THAT(error(), HasSubstr("lm_head.weight: biases differ from scales in shape or dtype"));
}

TEST_F(MlxFolder, UnderstandsMlxNamesOfGpt2AndGptNeox) {
  load("gpt2");
  std::map<std::string, mx::array> renamed;
  for (const auto& [name, array] : tensors_) {
    const bool matrix =
        name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") || name.ends_with("c_fc.weight");
    renamed.emplace("model." + name.substr(12), matrix ? mx::transpose(array) : array);
  }
  Checkpoint golden = Checkpoint::open(kModels / "gpt2");
  tensors_ = renamed;
  Checkpoint gpt2 = open();
  for (const std::string& name : golden.names()) {
    EXPECT_TRUE(same(gpt2.take_dense(name, golden.shape(name)), golden.take_dense(name, golden.shape(name))))
        << name;
  }
  load("gpt_neox");
  renamed.clear();
  for (const auto& [name, array] : tensors_) {
    std::string mlx = "model." + name;
    if (const size_t at = mlx.find(".gpt_neox.layers."); at != std::string::npos) mlx.replace(at, 17, ".h.");
    if (const size_t at = mlx.find(".gpt_neox."); at != std::string::npos) mlx.replace(at, 10, ".");
    renamed.emplace(mlx, array);
  }
  tensors_ = renamed;
  EXPECT_EQ(open().names(), Checkpoint::open(kModels / "gpt_neox").names());
}

}  // namespace
}  // namespace genkit::io

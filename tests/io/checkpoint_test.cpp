#include "genkit/io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <fstream>
#include <random>

#include "genkit/base/error.h"
#include "genkit/io/safetensors.h"
#include "tests/base/temp_folder.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using nlohmann::json;
using test::message_of;
using test::read_all;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const fs::path kModels = fs::path(MLXGK_TEST_DATA) / ".." / "goldens" / "models";

bool same(const mx::array& a, const mx::array& b) {
  return a.shape() == b.shape() && mx::array_equal(a, b).item<bool>();
}

bool is_conv1d(const std::string& name) {
  return name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") || name.ends_with("c_fc.weight");
}

class CheckpointFolder : public ::testing::Test {
 protected:
  void write_config(const json& config) { folder_.write("config.json", config.dump()); }
  void write(const std::string& name, const std::map<std::string, mx::array>& tensors) {
    save_safetensors(folder_.path() / name, tensors);
  }
  void write_index(const json& weight_map) {
    folder_.write("model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
  }
  Checkpoint open() { return Checkpoint::open(folder_.path()); }
  template <typename E = FormatError>
  std::string error() {
    return message_of<E>([&] { open(); });
  }
  TempFolder folder_;
  const mx::array x_ = mx::arange(0, 6, 1, mx::float32);
};

TEST(Checkpoint, GivesEveryTensorOfAFolderUnderItsName) {
  for (const auto& item : fs::directory_iterator(kModels)) {
    const std::string family = item.path().filename().string();
    SCOPED_TRACE(family);
    Checkpoint checkpoint = Checkpoint::open(item.path());
    EXPECT_EQ(checkpoint.kind(), CheckpointKind::kHuggingFace);
    EXPECT_FALSE(checkpoint.config().at("model_type").is_null());
    EXPECT_FALSE(checkpoint.generation_config().is_null());
    const auto raw = load_safetensors(item.path() / "model.safetensors");
    for (const auto& [name, array] : raw) {
      ASSERT_TRUE(checkpoint.has(name)) << name;
      const bool transposed = family.starts_with("gpt2") && is_conv1d(name);
      const mx::array expected = transposed ? mx::transpose(array) : array;
      EXPECT_TRUE(same(checkpoint.take_dense(name, expected.shape()), expected)) << name;
    }
    EXPECT_EQ(checkpoint.names().size(), raw.size());
    EXPECT_THAT(checkpoint.report().unused, ElementsAre());
  }
}

TEST(Checkpoint, CopiesNothing) {
  Checkpoint checkpoint = Checkpoint::open(kModels / "llama");
  const ops::Weight a = checkpoint.take("model.norm.weight", {64});
  const ops::Weight b = checkpoint.take("model.norm.weight", {64});
  EXPECT_EQ(a.data.data<float>(), b.data.data<float>());
  EXPECT_EQ(a.name, "model.norm.weight");
}

TEST(Checkpoint, NamesTensorsThatAreMissingOrHaveAnotherShape) {
  const std::string path = (kModels / "llama").string();
  Checkpoint checkpoint = Checkpoint::open(path);
  EXPECT_EQ(message_of<FormatError>([&] { checkpoint.take("model.norm.bias", {64}); }),
            path + ": model.norm.bias: missing");
  EXPECT_EQ(message_of<FormatError>([&] {
              checkpoint.take("model.norm.weight", {1, 64});
            }),
            path + "/model.safetensors: model.norm.weight: expected [1, 64], got [64]");
  EXPECT_EQ(message_of<FormatError>([&] { checkpoint.shape("nothing"); }), path + ": nothing: missing");
  checkpoint.take("lm_head.weight", {440, 64});
  const TensorReport report = checkpoint.report();
  EXPECT_THAT(report.missing, ElementsAre("model.norm.bias"));
  EXPECT_THAT(report.wrong_shape, ElementsAre("model.norm.weight: expected [1, 64], got [64]"));
  EXPECT_EQ(report.unused.size(), checkpoint.names().size() - 1);
}

TEST_F(CheckpointFolder, ReadsShardsByTheirIndex) {
  write_config({{"model_type", "llama"}});
  write("a.safetensors", {{"model.norm.weight", x_}});
  write("b.safetensors", {{"lm_head.weight", mx::reshape(x_, {2, 3})}});
  write_index({{"model.norm.weight", "a.safetensors"}, {"lm_head.weight", "b.safetensors"}});
  Checkpoint checkpoint = open();
  EXPECT_THAT(checkpoint.names(), ElementsAre("lm_head.weight", "model.norm.weight"));
  EXPECT_TRUE(same(checkpoint.take_dense("lm_head.weight", {2, 3}), mx::reshape(x_, {2, 3})));
}

TEST_F(CheckpointFolder, RefusesABrokenIndex) {
  write_config({{"model_type", "llama"}});
  write("a.safetensors", {{"x", x_}});
  const std::string start = "model.safetensors.index.json: ";
  write_index({{"x", "b.safetensors"}});
  EXPECT_EQ(error(), start + "weight_map.x: there is no file b.safetensors in the folder");
  write_index({{"x", "a.safetensors"}, {"y", "a.safetensors"}});
  EXPECT_EQ(error(), start + "weight_map.y: there is no such tensor in a.safetensors");
  for (const char* evil : {"../a.safetensors", "/etc/passwd", "..", "sub/a.safetensors", ""}) {
    write_index({{"x", evil}});
    EXPECT_THAT(error(), HasSubstr("weight_map.x: expected the name of a file in the same folder")) << evil;
  }
  write_index({{"x", 3}});
  EXPECT_EQ(error(), start + "weight_map.x: expected a string, got 3");
  folder_.write("model.safetensors.index.json", "{}");
  EXPECT_EQ(error(), start + "weight_map: missing");
  folder_.write("model.safetensors.index.json", "{");
  EXPECT_THAT(error(), HasSubstr(start + "line 1"));
}

TEST_F(CheckpointFolder, RefusesATensorInTwoFiles) {
  write_config({{"model_type", "llama"}});
  write("model-00001-of-00002.safetensors", {{"x", x_}});
  write("model-00002-of-00002.safetensors", {{"x", x_}});
  EXPECT_THAT(error(),
              EndsWith("model-00002-of-00002.safetensors: x: also in model-00001-of-00002.safetensors"));
}

TEST_F(CheckpointFolder, RefusesFoldersWithoutAModel) {
  const std::string path = folder_.path().string();
  EXPECT_EQ(message_of<IoError>([&] { Checkpoint::open(folder_.path() / "no"); }),
            path + "/no: no such file or folder");
  EXPECT_EQ(error(), path + ": neither config.json nor a .gguf file in this folder");
  write_config({{"model_type", "llama"}});
  EXPECT_EQ(error(),
            path + ": no model.safetensors, model.safetensors.index.json or .gguf file in this folder");
  folder_.write("pytorch_model.bin", "x");
  EXPECT_THAT(error(), EndsWith("in this folder; pickled PyTorch files are not read"));
  const auto text = folder_.write("model.txt", "x");
  EXPECT_THAT(
      message_of<FormatError>([&] { Checkpoint::open(text); }),
      EndsWith("model.txt: expected a folder, a .gguf file or a .safetensors file beside its config.json"));
  const auto alone = folder_.path() / "sub" / "x.safetensors";
  fs::create_directory(alone.parent_path());
  save_safetensors(alone, {{"x", x_}});
  EXPECT_THAT(message_of<IoError>([&] { Checkpoint::open(alone); }), HasSubstr("config.json"));
}

TEST_F(CheckpointFolder, RefusesBadConfigurations) {
  write("model.safetensors", {{"x", x_}});
  folder_.write("config.json", "{\"model_type\": ");
  EXPECT_THAT(error(), HasSubstr("config.json: line 1"));
  folder_.write("config.json", "[1]");
  EXPECT_EQ(error(), "config.json: expected an object, got a list");
  folder_.write("config.json", "{\"model_type\": 3}");
  EXPECT_EQ(error(), "config.json: model_type: expected a string, got 3");
  folder_.write("config.json", "{}");
  folder_.write("generation_config.json", "{");
  EXPECT_THAT(error(), HasSubstr("generation_config.json: line 1"));
}

TEST_F(CheckpointFolder, OpensOneFileBesideItsConfiguration) {
  write_config({{"model_type", "llama"}});
  write("model.safetensors", {{"x", x_}});
  write("other.safetensors", {{"y", x_}});
  EXPECT_THAT(Checkpoint::open(folder_.path() / "other.safetensors").names(), ElementsAre("y"));
}

TEST_F(CheckpointFolder, RefusesIntegersAsWeights) {
  write_config({{"model_type", "llama"}});
  write("model.safetensors", {{"x", mx::array({1, 2})}, {"d", mx::astype(x_, mx::float64, mx::Device::cpu)}});
  Checkpoint checkpoint = open();
  EXPECT_THAT(message_of<FormatError>([&] { checkpoint.take("x", {2}); }),
              EndsWith("model.safetensors: x: expected floating-point numbers, got integers"));
  EXPECT_TRUE(same(checkpoint.take("d", {6}).data, x_));
}

TEST_F(CheckpointFolder, FindsTheBareModelAndTheModelInsideAnother) {
  const auto names_of = [&](const char* type, const std::vector<std::string>& names) {
    write_config({{"model_type", type}});
    std::map<std::string, mx::array> tensors;
    for (const auto& name : names) tensors.emplace(name, x_);
    write("model.safetensors", tensors);
    return open().names();
  };
  EXPECT_THAT(names_of("llama", {"embed_tokens.weight", "layers.0.self_attn.q_proj.weight", "norm.weight",
                                 "layers.0.self_attn.rotary_emb.inv_freq"}),
              ElementsAre("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                          "model.norm.weight"));
  EXPECT_THAT(names_of("gpt2", {"wte.weight", "h.0.attn.bias", "h.0.attn.masked_bias", "h.0.ln_1.bias"}),
              ElementsAre("transformer.h.0.ln_1.bias", "transformer.wte.weight"));
  EXPECT_THAT(
      names_of("gpt_neox", {"embed_in.weight", "layers.0.attention.bias", "layers.0.attention.dense.bias",
                            "layers.0.attention.rotary_emb.inv_freq", "embed_out.weight"}),
      ElementsAre("embed_out.weight", "gpt_neox.embed_in.weight", "gpt_neox.layers.0.attention.dense.bias"));
  const std::vector<std::string> expected{"lm_head.weight", "model.norm.weight"};
  EXPECT_EQ(names_of("gemma3", {"language_model.model.norm.weight", "language_model.lm_head.weight",
                                "vision_tower.x.weight", "multi_modal_projector.y"}),
            expected);
  EXPECT_EQ(names_of("gemma3", {"model.language_model.norm.weight", "lm_head.weight",
                                "model.vision_tower.x.weight", "model.multi_modal_projector.y"}),
            expected);
}

TEST_F(CheckpointFolder, SplitsAndRenamesTheExpertsOfTransformers5) {
  const mx::array gate_up = mx::reshape(mx::arange(0, 48, 1, mx::float32), {2, 6, 4});
  const mx::array down = mx::reshape(mx::arange(0, 24, 1, mx::float32), {2, 4, 3});
  const std::string layer = "model.layers.0.mlp.";
  const auto check = [&](const char* type, const std::string& before, const char* gate, const char* up,
                         const char* down_name) {
    write_config({{"model_type", type}});
    write("model.safetensors", {{layer + "experts.gate_up_proj", gate_up},
                                {layer + "experts.down_proj", down},
                                {layer + "gate.weight", mx::reshape(x_, {2, 3})}});
    Checkpoint checkpoint = open();
    const auto take = [&](const char* name, const mx::Shape& shape) {
      return checkpoint.take_experts(before + "experts.{}." + name + ".weight", shape).data;
    };
    EXPECT_TRUE(same(take(gate, {2, 3, 4}), mx::slice(gate_up, {0, 0, 0}, {2, 3, 4})));
    EXPECT_TRUE(same(take(up, {2, 3, 4}), mx::slice(gate_up, {0, 3, 0}, {2, 6, 4})));
    EXPECT_TRUE(same(take(down_name, {2, 4, 3}), down));
    EXPECT_TRUE(checkpoint.has(before + "gate.weight"));
  };
  check("qwen3_moe", layer, "gate_proj", "up_proj", "down_proj");
  check("mixtral", "model.layers.0.block_sparse_moe.", "w1", "w3", "w2");
}

TEST_F(CheckpointFolder, ExpertsMustBeAlike) {
  write_config({{"model_type", "mixtral"}});
  const mx::array w = mx::reshape(x_, {2, 3});
  write("model.safetensors", {{"e.0.w1.weight", w}, {"e.1.w1.weight", mx::astype(w, mx::float16)}});
  Checkpoint checkpoint = open();
  EXPECT_EQ(message_of<FormatError>([&] {
              checkpoint.take_experts("e.{}.w1.weight", {2, 2, 3});
            }),
            "e.1.w1.weight: its shape or format differs from that of e.0.w1.weight");
  EXPECT_THAT(message_of<FormatError>([&] {
                checkpoint.take_experts("e.{}.w1.weight", {3, 2, 3});
              }),
              EndsWith("e.2.w1.weight: missing"));
}

TEST_F(CheckpointFolder, SurvivesFlippedBitsInItsJson) {
  write("a.safetensors", {{"model.norm.weight", x_}});
  const std::string config = read_all(kModels / "gemma3_text" / "config.json");
  const std::string index = json{{"weight_map", {{"model.norm.weight", "a.safetensors"}}}}.dump();
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = round % 2 ? config : index;
    for (int flips = 1 + int(random() % 3); flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= char(1 << (random() % 8));
    }
    folder_.write("config.json", round % 2 ? bytes : config);
    folder_.write("model.safetensors.index.json", round % 2 ? index : bytes);
    try {
      open();
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace genkit::io

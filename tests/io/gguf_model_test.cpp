// GGUF models beyond the golden families: quantised rows, split files, what is refused, the demo's file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <cmath>
#include <numbers>
#include <random>

#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
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
using ::testing::EndsWith;
using testing::gguf_of_golden;
using testing::GgufBuilder;
using ::testing::HasSubstr;

const fs::path kModels = fs::path(MLXGK_TEST_DATA) / ".." / "goldens" / "models";

// A llama of one layer: hidden size 64, 4 query heads of 16, 2 key heads.
GgufBuilder small_llama(const std::string& architecture = "llama") {
  GgufBuilder b;
  const std::string p = architecture + ".";
  b.set("general.architecture", architecture).set(p + "context_length", 64u).set(p + "embedding_length", 64u);
  b.set(p + "block_count", 1u).set(p + "feed_forward_length", 32u).set(p + "attention.head_count", 4u);
  b.set(p + "attention.head_count_kv", 2u).set(p + "attention.layer_norm_rms_epsilon", 1e-5f);
  b.floats("token_embd.weight", {2, 64}, std::vector<float>(128, 0.5f));
  return b;
}

class GgufModel : public ::testing::Test {
 protected:
  Checkpoint open(const GgufBuilder& b) { return Checkpoint::open(folder_.write("m.gguf", b.bytes())); }
  json config(const GgufBuilder& b) { return open(b).config(); }
  std::string error(const GgufBuilder& b) {
    const std::string message = message_of<FormatError>([&] { open(b); });
    const auto at = message.find("m.gguf");
    return at == std::string::npos ? message : message.substr(at);
  }
  TempFolder folder_;
};

TEST_F(GgufModel, QuantisedRowsMoveWhole) {
  std::mt19937 random(5);
  std::string rows;  // 32 rows of two Q8_0 blocks
  for (int i = 0; i < 32 * 68; ++i) rows += char(random() % 256);
  GgufBuilder b = small_llama();
  b.tensor("blk.0.attn_k.weight", {32, 64}, 8, rows);
  const ops::Weight w = open(b).take("model.layers.0.self_attn.k_proj.weight", {32, 64});
  EXPECT_EQ(w.format, WeightFormat::kQ8_0);
  ASSERT_EQ(w.data.shape(), (mx::Shape{32, 68}));
  const auto* data = w.data.data<char>();
  for (int head = 0; head < 2; ++head) {
    for (int i = 0; i < 16; ++i) {
      // Within a head GGUF holds 0, 8, 1, 9, ...: row i of the first half is at 2 i.
      const int from = head * 16 + (i < 8 ? 2 * i : 2 * (i - 8) + 1);
      EXPECT_EQ(std::string(data + (head * 16 + i) * 68, 68), rows.substr(size_t(from) * 68, 68))
          << head << " " << i;
    }
  }
}

TEST_F(GgufModel, SingleExpertsOfOldFilesBecomeAStack) {
  GgufBuilder b = small_llama();
  b.set("llama.expert_count", 2u).set("llama.expert_used_count", 1u);
  b.floats("blk.0.ffn_gate.0.weight", {1, 2}, {1, 2}).floats("blk.0.ffn_gate.1.weight", {1, 2}, {3, 4});
  Checkpoint checkpoint = open(b);
  EXPECT_EQ(checkpoint.config().at("model_type"), "mixtral");
  const ops::Weight w =
      checkpoint.take_experts("model.layers.0.block_sparse_moe.experts.{}.w1.weight", {2, 1, 2});
  EXPECT_THAT(std::vector<float>(w.data.data<float>(), w.data.data<float>() + 4), ElementsAre(1, 2, 3, 4));
}

TEST_F(GgufModel, ReadsSplitModels) {
  GgufBuilder first = small_llama(), second;
  first.value("split.no", GgufType::kUint16, GgufBuilder::raw(uint16_t(0)));
  first.value("split.count", GgufType::kUint16, GgufBuilder::raw(uint16_t(2)));
  first.value("split.tensors.count", GgufType::kInt32, GgufBuilder::raw(int32_t(2)));
  second.value("split.no", GgufType::kUint16, GgufBuilder::raw(uint16_t(1)));
  second.value("split.count", GgufType::kUint16, GgufBuilder::raw(uint16_t(2)));
  second.floats("output_norm.weight", {2}, {1, 2});
  const auto path = folder_.write("x-00001-of-00002.gguf", first.bytes());
  EXPECT_THAT(message_of<IoError>([&] { Checkpoint::open(path); }),
              HasSubstr("x-00002-of-00002.gguf: No such file"));
  const auto other = folder_.write("x-00002-of-00002.gguf", second.bytes());
  EXPECT_THAT(Checkpoint::open(path).names(), ElementsAre("model.embed_tokens.weight", "model.norm.weight"));
  EXPECT_THAT(Checkpoint::open(folder_.path()).names().size(), 2u);
  EXPECT_THAT(message_of<FormatError>([&] { Checkpoint::open(other); }),
              EndsWith("split.no: this is not the first part of the model; open that one"));
  folder_.write("x-00002-of-00002.gguf", first.bytes());
  EXPECT_THAT(message_of<FormatError>([&] { Checkpoint::open(path); }),
              EndsWith("split.no: the file does not belong to the model that its name says"));
  EXPECT_THAT(error(first), HasSubstr("split.count: 2 parts, which the file's name must say"));
}

TEST_F(GgufModel, AFolderMayHoldOneModel) {
  folder_.write("a.gguf", small_llama().bytes());
  folder_.write("mmproj-a.gguf", "an image tower");
  EXPECT_EQ(Checkpoint::open(folder_.path()).kind(), CheckpointKind::kGguf);
  folder_.write("b.gguf", "");
  EXPECT_EQ(message_of<FormatError>([&] { Checkpoint::open(folder_.path()); }),
            folder_.path().string() + ": several models in this folder, name one of them: a.gguf, b.gguf");
}

TEST_F(GgufModel, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(error(small_llama("bert")),
              HasSubstr("general.architecture: \"bert\" is not supported; these are: llama, qwen2, "));
  EXPECT_EQ(
      error(small_llama().set("llama.attention.temperature_scale", 0.1f)),
      "m.gguf: llama.attention.temperature_scale: not understood, and it may change what the model computes");
  EXPECT_EQ(error(small_llama().set("llama.attention.causal", false)),
            "m.gguf: llama.attention.causal: only causal attention is supported");
  EXPECT_EQ(error(small_llama().set("llama.attention.sliding_window", 8u)),
            "m.gguf: llama.attention.sliding_window: not supported for this architecture");
  EXPECT_EQ(
      error(small_llama().set("llama.rope.scaling.type", "magic")),
      "m.gguf: llama.rope.scaling.type: \"magic\" is not supported; none, linear, yarn and longrope are");
  EXPECT_EQ(error(small_llama().set("llama.rope.scaling.type", "yarn")),
            "m.gguf: llama.rope.scaling.factor: missing");
  EXPECT_EQ(error(small_llama().set("llama.rope.dimension_count", 17u)),
            "m.gguf: llama.rope.dimension_count: expected 1 to 16, got 17");
  EXPECT_EQ(error(small_llama().floats("rope_freqs.weight", {3}, {1, 1, 2})),
            "m.gguf: rope_freqs.weight: 3 factors for 16 rotated numbers of a head");
  GgufBuilder b;
  b.set("general.architecture", "llama");
  EXPECT_EQ(error(b), "m.gguf: llama.embedding_length: missing");
  b = small_llama();
  b.tensor("blk.0.ffn_up.weight", {1, 256}, 16, std::string(66, '\0'));
  Checkpoint checkpoint = open(b);
  EXPECT_THAT(message_of<FormatError>([&] {
                checkpoint.take("model.layers.0.mlp.up_proj.weight", {1, 256});
              }),
              EndsWith("m.gguf: blk.0.ffn_up.weight: weights of type IQ2_XXS are not supported"));
  b = small_llama();
  b.floats("blk.0.attn_q.weight", {6, 2}, std::vector<float>(12));
  EXPECT_EQ(error(b), "m.gguf: blk.0.attn_q.weight: 6 rows cannot be shared by 4 heads");
}

TEST_F(GgufModel, MessagesNameBothNames) {
  Checkpoint checkpoint = open(small_llama());
  EXPECT_EQ(message_of<FormatError>([&] {
              checkpoint.take("model.embed_tokens.weight", {3, 64});
            }),
            (folder_.path() / "m.gguf").string() +
                ": token_embd.weight: (model.embed_tokens.weight) expected [3, 64], got [2, 64]");
}

TEST_F(GgufModel, RefusesAbsurdSizes) {
  const auto with = [&](const char* key, uint32_t value) {
    GgufBuilder b;
    b.set("general.architecture", "gemma3");
    for (const auto& [name, usual] :
         {std::pair{"context_length", 64u}, std::pair{"embedding_length", 64u}, std::pair{"block_count", 1u},
          std::pair{"feed_forward_length", 32u}, std::pair{"attention.head_count", 4u}}) {
      b.set(std::string("gemma3.") + name, std::string(name) == key ? value : usual);
    }
    b.set("gemma3.attention.layer_norm_rms_epsilon", 1e-6f).set("gemma3.attention.sliding_window", 8u);
    b.floats("token_embd.weight", {2, 64}, std::vector<float>(128));
    return error(b);
  };
  EXPECT_EQ(with("", 0), "no error");
  EXPECT_EQ(with("block_count", 1u << 30),
            "m.gguf: gemma3.block_count: 1073741824 layers in a file of 1 tensors");
  EXPECT_EQ(with("attention.head_count", 0),
            "m.gguf: gemma3.attention.head_count: expected 1 to 1073741824, got 0");
  EXPECT_EQ(with("attention.head_count", 65),
            "m.gguf: gemma3.attention.head_count: 65 heads share 64 numbers");
  EXPECT_EQ(with("embedding_length", ~0u),
            "m.gguf: gemma3.embedding_length: expected 1 to 1073741824, got 4294967295");
}

// What llama.cpp's converter makes of Llama 3.1 (factor 8) and 3.2 (factor 32).
TEST_F(GgufModel, RecognisesLlama3sRope) {
  for (const double factor : {8.0, 32.0}) {
    std::vector<float> factors;
    for (int i = 0; i < 64; ++i) {
      const double wavelength = 2 * std::numbers::pi * std::pow(500000.0, i / 64.0);
      const double smooth = (8192 / wavelength - 1) / 3;
      factors.push_back(float(wavelength < 2048   ? 1
                              : wavelength > 8192 ? factor
                                                  : 1 / ((1 - smooth) / factor + smooth)));
    }
    GgufBuilder b = small_llama();
    b.set("llama.rope.freq_base", 500000.0f).set("llama.attention.key_length", 128u);
    b.floats("rope_freqs.weight", {64}, factors);
    EXPECT_EQ(config(b).at("rope_scaling"), json({{"rope_type", "llama3"},
                                                  {"factor", factor},
                                                  {"low_freq_factor", 1.0},
                                                  {"high_freq_factor", 4.0},
                                                  {"original_max_position_embeddings", 8192}}));
  }
}

TEST_F(GgufModel, SaysPlainRopeWherePlainRopeIsMeant) {
  EXPECT_FALSE(config(small_llama()).contains("rope_scaling"));
  EXPECT_FALSE(config(small_llama().floats("rope_freqs.weight", {8}, std::vector<float>(8, 1.0f)))
                   .contains("rope_scaling"));
  EXPECT_EQ(config(small_llama().set("llama.rope.scale_linear", 4.0f)).at("rope_scaling"),
            json({{"rope_type", "linear"}, {"factor", 4.0}}));
}

TEST_F(GgufModel, NumbersComeOutAsTheyWereWritten) {
  const json c = config(small_llama().set("llama.rope.freq_base", 1e6f));
  EXPECT_EQ(c.at("rms_norm_eps").get<double>(), 1e-5);
  EXPECT_EQ(c.at("rope_theta").get<double>(), 1e6);
}

TEST_F(GgufModel, GivesTokensAndSamplingAsGenerationConfig) {
  EXPECT_TRUE(open(small_llama()).generation_config().is_null());
  GgufBuilder b = small_llama();
  b.set("tokenizer.ggml.eos_token_id", 1u).set("tokenizer.ggml.eot_token_id", 106u);
  b.set("tokenizer.ggml.bos_token_id", 2u);
  EXPECT_EQ(open(b).generation_config(), json({{"bos_token_id", 2}, {"eos_token_id", {1, 106}}}));
  b.set("general.sampling.top_k", 64u).set("general.sampling.top_p", 0.95f);
  const json g = open(b).generation_config();
  EXPECT_EQ(g.at("top_k"), 64);
  EXPECT_EQ(g.at("top_p").get<double>(), 0.95);
  EXPECT_EQ(g.at("do_sample"), true);
}

// Opened and read completely, a damaged model gives typed errors and nothing else.
TEST_F(GgufModel, SurvivesFlippedBits) {
  std::mt19937 random(4);
  int refused = 0;
  for (const char* family : {"llama", "gemma3_text", "phi3", "stablelm", "mixtral", "gpt_neox"}) {
    const std::string good = gguf_of_golden(kModels, family).bytes();
    const size_t header = std::min<size_t>(good.size(), 8192);
    for (int round = 0; round < 60; ++round) {
      std::string bytes = good;
      for (int flips = 1 + int(random() % 6); flips > 0; --flips) {
        bytes[random() % header] ^= char(1 << (random() % 8));
      }
      try {
        Checkpoint checkpoint = Checkpoint::open(folder_.write("m.gguf", bytes));
        for (const std::string& name : checkpoint.names()) checkpoint.take(name, checkpoint.shape(name));
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

// Sums over the bits of dequantised tensors that were equal to what transformers 5.23 loads from
// the same file (all 236 tensors, largest difference 0).
TEST(DemoModel, GivesTheNumbersThatTransformersLoads) {
  const fs::path path = fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not there; `make demo` brings it";
  Checkpoint checkpoint = Checkpoint::open(path);
  const std::vector<std::pair<const char*, uint64_t>> sums{
      {"model.norm.weight", 0xccc21ada0000u},
      {"model.layers.0.self_attn.q_proj.weight", 0x89c210dea9bca000u},
      {"model.layers.0.self_attn.v_proj.weight", 0x830b4882c7b98c00u},
      {"model.layers.0.self_attn.o_proj.weight", 0x4ead5a2987a5c830u},
      {"model.layers.0.mlp.down_proj.weight", 0xae31ff92ba2d9852u},
      {"model.layers.17.mlp.up_proj.weight", 0x72fea8e762314000u},
      {"model.layers.5.self_attn.q_norm.weight", 0x2d676aea0000u},
  };
  for (const auto& [name, expected] : sums) {
    const mx::array numbers = checkpoint.take_dense(name, checkpoint.shape(name));
    uint64_t sum = 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, numbers.data<float>() + i, 4);
      sum += uint64_t(bits) * (uint64_t(i + 1) | 1);
    }
    EXPECT_EQ(sum, expected) << name;
  }
  // Q8_0 of 170 MB, looked at where it lies.
  const ops::Weight embedding = checkpoint.take("model.embed_tokens.weight", {262144, 640});
  EXPECT_EQ(embedding.format, WeightFormat::kQ8_0);
  EXPECT_EQ(embedding.data.data<uint8_t>(),
            checkpoint.take("model.embed_tokens.weight", {262144, 640}).data.data<uint8_t>());
  EXPECT_THAT(checkpoint.names().size(), 236u);
}

}  // namespace
}  // namespace genkit::io

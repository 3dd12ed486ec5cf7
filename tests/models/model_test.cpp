// What every family promises: places for hooks, kinds of output, typed errors, threads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <filesystem>
#include <fstream>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/thread_pool.h"
#include "genkit/ops/linear.h"
#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

namespace fs = std::filesystem;
using models::LogitsFor;
using models::Site;

const std::vector<int32_t> kIds = {1, 7, 20, 33, 5, 41, 12, 9, 28, 17};

bool same(const mx::array& a, const mx::array& b) { return mx::array_equal(a, b).item<bool>(); }

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

class EveryModel : public ::testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override { model_ = load(GetParam()); }
  mx::array logits(const std::vector<models::ForwardHook*>& hooks = {}, LogitsFor which = LogitsFor::kAll) {
    mx::array out = *model_->forward(packed({kIds}, which), nullptr, hooks).logits;
    out.eval();
    return out;
  }
  std::unique_ptr<models::Model> model_;
};

TEST_P(EveryModel, HooksSeeAllPlacesInOrder) {
  struct Names : models::ForwardHook {
    std::vector<std::string> seen;
    bool wants(Site, int) const override { return true; }
    mx::array apply(Site site, int layer, const mx::array& x, const models::ForwardInput& input) override {
      static const char* kNames[] = {"token_embedding", "embedding", "block", "final", "logits"};
      seen.push_back(kNames[static_cast<int>(site)] + (layer < 0 ? "" : std::to_string(layer)));
      EXPECT_EQ(x.dtype(), mx::float32);
      EXPECT_EQ(x.shape(0), input.tokens.shape(0));
      return x;
    }
  } hook;
  const mx::array watched = logits({&hook});
  std::vector<std::string> expected = {"token_embedding", "embedding"};
  for (int i = 0; i < model_->config().num_hidden_layers; ++i)
    expected.push_back("block" + std::to_string(i));
  expected.insert(expected.end(), {"final", "logits"});
  EXPECT_EQ(hook.seen, expected);
  EXPECT_TRUE(same(watched, logits()));  // looking changes nothing
}

TEST_P(EveryModel, AHookInTheLastBlockChangesTheLogits) {
  struct Push : models::ForwardHook {
    int layer;
    bool wants(Site site, int l) const override { return site == Site::kBlock && l == layer; }
    mx::array apply(Site, int, const mx::array& x, const models::ForwardInput&) override {
      return mx::add(x, mx::sin(x));
    }
  } hook;
  const mx::array plain = logits();
  for (hook.layer = 0; hook.layer < model_->config().num_hidden_layers; ++hook.layer) {
    EXPECT_FALSE(same(logits({&hook}), plain)) << "block " << hook.layer;
  }
}

TEST_P(EveryModel, KindsOfOutputAgree) {
  const mx::array all = logits();
  const int n = all.shape(0), vocab = all.shape(1);
  EXPECT_EQ(vocab, model_->config().vocab_size);
  EXPECT_TRUE(same(logits({}, LogitsFor::kLast), mx::slice(all, {n - 1, 0}, {n, vocab})));
  Recorder recorder;  // wants the place after the final norm, so that all tokens are normed first
  EXPECT_TRUE(same(logits({&recorder}, LogitsFor::kLast), mx::slice(all, {n - 1, 0}, {n, vocab})));
  EXPECT_EQ(recorder.final.at(0).shape(0), n);
  const models::ForwardOutput none = model_->forward(packed({kIds}, LogitsFor::kNone));
  EXPECT_FALSE(none.logits);
  EXPECT_EQ(none.hidden.shape(), (mx::Shape{n, model_->config().hidden_size}));
}

TEST_P(EveryModel, ThreadsDoNotChangeABit) {
  const int before = num_threads();
  set_num_threads(1);
  const mx::array one = logits();
  set_num_threads(2);
  const mx::array two = logits();
  set_num_threads(before);
  EXPECT_TRUE(same(one, two));
}

INSTANTIATE_TEST_SUITE_P(Goldens, EveryModel, ::testing::ValuesIn(golden_models(Configs::kNewest)),
                         golden_name);

class Llama : public ::testing::Test {
 protected:
  void SetUp() override { model_ = load({"llama", false}); }
  std::string forward_error(const models::ForwardInput& input, cache::KvCache* cache = nullptr,
                            const std::vector<models::ForwardHook*>& hooks = {}) {
    return error_of([&] { model_->forward(input, cache, hooks); });
  }
  std::unique_ptr<models::Model> model_;
};

TEST_F(Llama, EmbeddingsInPlaceOfTokens) {
  const ops::Weight& table = *model_->components().embedding;
  models::ForwardInput by_id = packed({kIds}, LogitsFor::kAll), by_vector = by_id;
  by_vector.embeddings = ops::embedding(by_id.tokens, table);
  EXPECT_TRUE(same(*model_->forward(by_id).logits, *model_->forward(by_vector).logits));
}

TEST_F(Llama, Components) {
  const models::Components c = model_->components();
  EXPECT_FALSE(c.tied);
  EXPECT_NE(c.head, c.embedding);
  EXPECT_EQ(c.head->name, "lm_head.weight");
  EXPECT_EQ(c.embedding->name, "model.embed_tokens.weight");
  EXPECT_EQ(c.num_blocks, 3);
}

TEST_F(Llama, WhatDoesNotAddUpIsRefused) {
  models::ForwardInput input = packed({kIds}, LogitsFor::kLast);
  models::ForwardInput bad = input;
  bad.rows.clear();
  EXPECT_EQ(forward_error(bad), "rows: expected at least one");
  bad.rows = {{.length = 3}};
  EXPECT_EQ(forward_error(bad), "rows: lengths add up to 3, but there are 10 tokens");
  bad.rows = {{.length = 10}, {.length = 0}};
  EXPECT_EQ(forward_error(bad), "rows: expected a length above 0, got 0");
  bad.rows = {{.length = 10, .slot = 0}};
  EXPECT_EQ(forward_error(bad), "rows: slot 0 without a cache");
  cache::KvCache cache = model_->make_cache();
  EXPECT_EQ(forward_error(bad, &cache), "slot: the cache has no row 0");
  cache.add_row();
  bad.rows = {{.length = 4, .slot = 0}, {.length = 6, .slot = 0}};
  EXPECT_EQ(forward_error(bad, &cache), "rows: slot 0 twice");
  bad.rows = {{.length = 10, .position = -1}};
  EXPECT_EQ(forward_error(bad), "rows: position -1 is negative");
  bad = input;
  bad.tokens = mx::zeros({10}, mx::float32);
  EXPECT_EQ(forward_error(bad), "tokens: expected whole numbers [tokens], got shape [10]");
  bad.embeddings = mx::zeros({10, 3});
  EXPECT_EQ(forward_error(bad), "embeddings: expected [tokens, 64], got [10, 3]");
  cache::KvCache other({ops::KvShape{1, 2, 2, 0, ops::KvType::kF32}});
  EXPECT_EQ(forward_error(input, &other), "cache: made for 1 layers, this model has 3");
}

TEST_F(Llama, AHookMayNotChangeTheShape) {
  struct Cut : models::ForwardHook {
    bool wants(Site site, int) const override { return site == Site::kFinal; }
    mx::array apply(Site, int, const mx::array& x, const models::ForwardInput&) override {
      return mx::slice(x, {0, 0}, {1, x.shape(1)});
    }
  } hook;
  EXPECT_EQ(forward_error(packed({kIds}, LogitsFor::kAll), nullptr, {&hook}),
            "hook: returned [1, 64] for [10, 64]");
}

TEST(Gpt2, RowsLongerThanItsPositionsAreRefused) {
  const auto model = load({"gpt2", false});
  const std::vector<int32_t> ids(129, 5);
  EXPECT_EQ(error_of([&] { model->forward(packed({ids}, LogitsFor::kLast)); }),
            "rows: a row of 129 tokens is longer than the model's 128 positions");
}

/// A copy of a golden model whose configuration and tensors may be spoilt.
class Spoilt : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("spoilt_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    take("llama");
  }
  void TearDown() override { fs::remove_all(folder_); }
  void take(const std::string& name) {
    config_ = read_json_file(golden_folder(name) / "config.json");
    tensors_ = mx::load_safetensors((golden_folder(name) / "model.safetensors").string()).first;
  }
  std::string load_error() {
    std::ofstream(folder_ / "config.json") << config_;
    mx::save_safetensors((folder_ / "model.safetensors").string(), tensors_);
    return error_of([&] {
      io::Checkpoint checkpoint = io::Checkpoint::open(folder_);
      models::load_model(checkpoint);
    });
  }
  fs::path folder_;
  nlohmann::json config_;
  std::unordered_map<std::string, mx::array> tensors_;
};

TEST_F(Spoilt, NothingIsWrongWithTheCopyItself) { EXPECT_EQ(load_error(), "no error"); }

TEST_F(Spoilt, MissingTensor) {
  tensors_.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(load_error(), folder_.string() + ": model.layers.1.mlp.up_proj.weight: missing");
}

TEST_F(Spoilt, TensorOfAnotherShape) {
  config_["intermediate_size"] = 100;
  EXPECT_THAT(load_error(),
              ::testing::HasSubstr(
                  "model.safetensors: model.layers.0.mlp.gate_proj.weight: expected [100, 64], got"));
}

TEST_F(Spoilt, HeadThatIsNotTiedIsNeeded) {
  tensors_.erase("lm_head.weight");
  EXPECT_THAT(load_error(), ::testing::HasSubstr("lm_head.weight"));
}

TEST_F(Spoilt, TiedHeadOfAnotherShape) {
  take("llama_rope_llama3");
  ASSERT_TRUE(config_["tie_word_embeddings"]);
  tensors_.insert({"lm_head.weight", mx::zeros({3, 64})});
  EXPECT_THAT(load_error(), ::testing::HasSubstr("lm_head.weight: expected"));
}

TEST_F(Spoilt, UnknownModelType) {
  config_["model_type"] = "mamba";
  EXPECT_THAT(load_error(),
              ::testing::HasSubstr("config.json: model_type: \"mamba\" is not supported; supported: "));
}

}  // namespace
}  // namespace genkit::test

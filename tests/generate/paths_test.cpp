// One prompt, many ways of computing: the same tokens, for every family.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "genkit/base/thread_pool.h"
#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path models_folder() { return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models"; }

std::vector<std::string> model_names() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(models_folder())) out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

class Paths : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    io::Checkpoint checkpoint = io::Checkpoint::open(models_folder() / GetParam());
    model_ = models::load_model(checkpoint);
    // Lengths around the windows (8), the borders of rope (12, 16) and one another.
    std::mt19937 generator(17);
    for (const size_t length : {3, 11, 19, 8}) {
      Ids& ids = prompts_.emplace_back(length);
      for (int32_t& id : ids) {
        id = 3 + static_cast<int32_t>(generator() % static_cast<unsigned>(model_->config().vocab_size - 3));
      }
    }
  }

  GenerationResult run(const std::vector<Ids>& prompts, int chunk = 512, bool use_cache = true,
                       std::optional<uint64_t> row_key = {}) {
    GenerationRequest request;
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids, .row_key = row_key});
    request.config = extra_;
    request.config.max_new_tokens = 12;
    request.config.use_cache = use_cache;
    if (sample_) request.config.do_sample = true;
    request.config.seed = 99;
    request.config.top_logprobs = 0;
    request.prefill_chunk = chunk;
    return generate(*model_, nullptr, request);
  }

  void expect_same_whatever_the_path() {
    const GenerationResult batch = run(prompts_);
    for (size_t i = 0; i < prompts_.size(); ++i) {
      EXPECT_EQ(run({prompts_[i]}, 512, true, i).rows[0].ids, batch.rows[i].ids) << "alone, row " << i;
    }
    const auto expect_rows = [&](const GenerationResult& other, const char* path) {
      for (size_t i = 0; i < prompts_.size(); ++i)
        EXPECT_EQ(other.rows[i].ids, batch.rows[i].ids) << path << ", row " << i;
    };
    expect_rows(run(prompts_, 5), "chunks of 5");
    expect_rows(run(prompts_, 1), "chunks of 1");
    expect_rows(run(prompts_, 512, false), "without a cache");
  }

  std::unique_ptr<models::Model> model_;
  std::vector<Ids> prompts_;
  bool sample_ = false;
  GenerationConfig extra_;
};

TEST_P(Paths, Greedy) { expect_same_whatever_the_path(); }

TEST_P(Paths, Sampled) {
  sample_ = true;
  expect_same_whatever_the_path();
}

TEST_P(Paths, ContrastiveSearch) {
  extra_.penalty_alpha = 0.6;
  extra_.top_k = 4;
  expect_same_whatever_the_path();
  extra_.guidance_scale = 1.5;
  expect_same_whatever_the_path();
}

TEST_P(Paths, Dola) {
  extra_.dola_layers = {config::DolaLayers::Kind::kHigh, {}};
  expect_same_whatever_the_path();
  sample_ = true;
  extra_.guidance_scale = 1.5;
  expect_same_whatever_the_path();
}

TEST_P(Paths, OneOrTwoThreadsGiveTheSameBits) {
  const int before = num_threads();
  set_num_threads(1);
  const GenerationResult one = run(prompts_);
  set_num_threads(2);
  const GenerationResult two = run(prompts_);
  set_num_threads(before);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    EXPECT_EQ(one.rows[i].ids, two.rows[i].ids);
    EXPECT_EQ(one.rows[i].logprobs, two.rows[i].logprobs);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Paths, testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace genkit::generate

// Rows that are taken up again from a prompt cache file, over quantised weights in the default arithmetic:
// the bits of a row that nothing interrupted, drawn tokens included.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "genkit/generate/generate.h"
#include "genkit/generate/prefix_file.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "tests/base/temp_folder.h"
#include "tests/generate/fake_model.h"
#include "tests/io/golden_gguf.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using nlohmann::json;

Ids joined(const Ids& a, const Ids& b) {
  Ids out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

GenerationResult run(const models::Model& model, const Ids& prompt, json options,
                     std::shared_ptr<PrefixStore> prefixes = nullptr) {
  GenerationRequest request;
  request.prompts = {{.ids = prompt}};
  options["top_logprobs"] = 2;
  options["eos_token_id"] = json::array();
  request.config = GenerationConfig::from_caller(options, "");
  request.prefixes = std::move(prefixes);
  return generate(model, nullptr, request);
}

class QuantisedResume : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<models::Model> load() const {
    io::Checkpoint checkpoint = io::Checkpoint::open(file_);
    return models::load_model(checkpoint);
  }
  void SetUp() override {
    const fs::path goldens = fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models";
    file_ = folder_.write("model.gguf", io::testing::gguf_of_golden(goldens, GetParam(), true).bytes());
  }

  test::TempFolder folder_;
  fs::path file_;
};

TEST_P(QuantisedResume, GivesTheBitsOfARowThatWentOn) {
  const auto model = load();
  ASSERT_NE(model->components().head->format, WeightFormat::kF32);
  const int positions = model->config().max_position_embeddings;
  std::mt19937 generator(5);
  Ids prompt(positions > 0 && positions < 128 ? static_cast<size_t>(positions / 4) : size_t{80});
  for (int32_t& id : prompt) {
    id = 3 + static_cast<int32_t>(generator() % static_cast<unsigned>(model->config().vocab_size - 3));
  }
  const json modes[] = {
      {{"do_sample", false}},
      {{"do_sample", true}, {"seed", 3}, {"top_k", 0}},
      {{"do_sample", true},
       {"seed", 4},
       {"xtc_probability", 0.5},
       {"xtc_threshold", 0.01},
       {"max_kv_size", 9}},
      {{"prompt_lookup_num_tokens", 4}, {"do_sample", true}, {"seed", 5}, {"temperature", 0.5}}};
  for (json options : modes) {
    options["max_new_tokens"] = 12;
    const GeneratedRow whole = run(*model, prompt, options).rows[0];
    options["max_new_tokens"] = 5;
    const auto store = std::make_shared<PrefixStore>(*model);
    const Ids first = run(*model, prompt, options, store).rows[0].ids;
    save_prefix(folder_.path() / "row", *store->newest(), *model);

    const auto again = load();
    const auto loaded = std::make_shared<PrefixStore>(*again);
    loaded->put(load_prefix(folder_.path() / "row", *again));
    options["max_new_tokens"] = 7;
    const Ids so_far = joined(prompt, first);
    const GenerationResult resumed = run(*again, so_far, options, loaded);
    EXPECT_EQ(joined(first, resumed.rows[0].ids), whole.ids) << options;
    const std::vector<float> rest(whole.logprobs.begin() + 5, whole.logprobs.end());
    EXPECT_EQ(resumed.rows[0].logprobs, rest) << options;
    EXPECT_EQ(resumed.timings.reused_tokens, so_far.size() - 1) << options;
    // The same without the file.
    EXPECT_EQ(run(*again, so_far, options).rows[0].logprobs, rest) << options;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, QuantisedResume,
                         testing::Values("llama", "gemma2", "gemma3_text", "qwen3", "mixtral", "gpt2"),
                         [](const auto& info) { return info.param; });

TEST(Resume, DrawsGoOnWhereverARowIsTakenUpAgain) {
  const FakeModel model;
  const Ids prompt = {4, 7, 20, 21};
  const json options[] = {
      {{"do_sample", true}, {"seed", 9}, {"top_k", 0}},
      {{"do_sample", true}, {"seed", 9}, {"xtc_probability", 0.5}, {"xtc_threshold", 0.01}, {"top_k", 0}}};
  for (json config : options) {
    config["max_new_tokens"] = 16;
    const Ids whole = run(model, prompt, config).rows[0].ids;
    for (const size_t taken : {1, 5, 15}) {
      const Ids first(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(taken));
      config["max_new_tokens"] = 16 - taken;
      EXPECT_EQ(joined(first, run(model, joined(prompt, first), config).rows[0].ids), whole) << config;
    }
  }
}

TEST(Resume, PaddingDoesNotCount) {
  const FakeModel model;
  const json config = {{"do_sample", true}, {"seed", 9}, {"top_k", 0}, {"pad_token_id", 0}};
  const Ids plain = run(model, {4, 7, 20}, config).rows[0].ids;
  EXPECT_EQ(run(model, {0, 0, 4, 7, 20}, config).rows[0].ids, plain);
}

}  // namespace
}  // namespace genkit::generate

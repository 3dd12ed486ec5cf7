// Rows that go on from kept ones, from files and within bounds: the same bits as rows that begin
// anew, for every family.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "genkit/generate/generate.h"
#include "genkit/generate/prefix_file.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "tests/base/temp_folder.h"

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

class PrefixPaths : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    io::Checkpoint checkpoint = io::Checkpoint::open(models_folder() / GetParam());
    model_ = models::load_model(checkpoint);
    // Longer than a page of the cache, so that windows of 8 have dropped one; phi3 and dynamic rope end
    // earlier.
    const int positions = model_->config().max_position_embeddings;
    long_ = static_cast<size_t>(positions > 0 && positions < 128 ? positions / 4 : 80);
  }

  Ids random_ids(size_t count, unsigned seed) const {
    std::mt19937 generator(seed);
    Ids ids(count);
    const auto vocab = static_cast<unsigned>(model_->config().vocab_size - 3);
    for (int32_t& id : ids) id = 3 + static_cast<int32_t>(generator() % vocab);
    return ids;
  }

  GenerationResult run(const std::vector<Ids>& prompts, std::shared_ptr<PrefixStore> prefixes = nullptr) {
    GenerationRequest request;
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids, .row_key = 5});
    request.config = config_;
    request.config.max_new_tokens = new_tokens_;
    request.config.top_logprobs = 3;
    request.prefixes = std::move(prefixes);
    request.prefill_chunk = chunk_;
    return generate(*model_, nullptr, request);
  }

  static void expect_same(const GeneratedRow& a, const GeneratedRow& b, const std::string& what) {
    EXPECT_EQ(a.ids, b.ids) << what;
    EXPECT_EQ(a.logprobs, b.logprobs) << what;
  }

  void expect_turns_are_the_same() {
    const auto store = std::make_shared<PrefixStore>(*model_);
    const Ids prompt = random_ids(long_, 1);
    const Ids answer = run({prompt}, store).rows[0].ids;
    Ids next = prompt;
    next.insert(next.end(), answer.begin(), answer.end());
    const Ids question = random_ids(4, 2);
    next.insert(next.end(), question.begin(), question.end());
    const GenerationResult continued = run({next}, store);
    expect_same(continued.rows[0], run({next}).rows[0], "the next turn");
    if (!depends_on_length()) EXPECT_EQ(continued.timings.reused_tokens, prompt.size() + answer.size() - 1);
    // The first answer is replaced: windows no longer hold its beginning, the prompt's end was kept.
    Ids other = prompt;
    other.insert(other.end(), question.begin(), question.end());
    const GenerationResult replaced = run({other}, store);
    expect_same(replaced.rows[0], run({other}).rows[0], "another answer");
    if (!depends_on_length()) EXPECT_GE(replaced.timings.reused_tokens, prompt.size());
    const Ids half(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(long_ / 2));
    expect_same(run({half}, store).rows[0], run({half}).rows[0], "half of the prompt");
  }

  /// Whether keys depend on how long the prompt is that they are computed with.
  bool depends_on_length() const { return model_->rotated_alike(1, 1 << 20, 1 << 10) < 1 << 10; }

  std::unique_ptr<models::Model> model_;
  GenerationConfig config_;
  size_t long_ = 80;
  int new_tokens_ = 6;
  int chunk_ = 512;
};

TEST_P(PrefixPaths, ContinuedRowsEqualNewOnes) { expect_turns_are_the_same(); }

TEST_P(PrefixPaths, ContinuedRowsEqualNewOnesWithinABound) {
  config_.max_kv_size = 9;
  config_.num_sink_tokens = 2;
  expect_turns_are_the_same();
}

TEST_P(PrefixPaths, AFileContinuesAsIfNothingHadBeenInterrupted) {
  config_.seed = 17;
  for (const auto& [bound, sample] : {std::pair{0, false}, std::pair{0, true}, std::pair{9, true}}) {
    if (bound > 0) config_.max_kv_size = bound;
    config_.do_sample = sample;
    const Ids prompt = random_ids(long_, 3);
    new_tokens_ = 12;
    const GeneratedRow whole = run({prompt}).rows[0];
    new_tokens_ = 5;
    const auto store = std::make_shared<PrefixStore>(*model_);
    Ids so_far = prompt;
    const Ids first = run({prompt}, store).rows[0].ids;
    so_far.insert(so_far.end(), first.begin(), first.end());
    const test::TempFolder folder;
    const fs::path file = folder.path() / "row.safetensors";
    save_prefix(file, *store->newest(), *model_);

    io::Checkpoint checkpoint = io::Checkpoint::open(models_folder() / GetParam());
    model_ = models::load_model(checkpoint);
    const auto loaded = std::make_shared<PrefixStore>(*model_);
    loaded->put(load_prefix(file, *model_));
    new_tokens_ = 7;
    const GenerationResult resumed = run({so_far}, loaded);
    if (!depends_on_length()) EXPECT_EQ(resumed.timings.reused_tokens, so_far.size() - 1);
    Ids ids = first;
    ids.insert(ids.end(), resumed.rows[0].ids.begin(), resumed.rows[0].ids.end());
    if (depends_on_length()) {
      expect_same(resumed.rows[0], run({so_far}).rows[0], "a longer prompt rotates otherwise");
      continue;
    }
    EXPECT_EQ(ids, whole.ids);
    EXPECT_EQ(resumed.rows[0].logprobs, std::vector<float>(whole.logprobs.begin() + 5, whole.logprobs.end()));
  }
}

TEST_P(PrefixPaths, BoundedRowsAreTheSameWhateverThePath) {
  config_.max_kv_size = 9;
  config_.num_sink_tokens = 2;
  new_tokens_ = 15;
  const std::vector<Ids> prompts = {random_ids(long_, 4), random_ids(3, 5), random_ids(long_ / 2, 6)};
  for (const bool sample : {false, true}) {
    config_.do_sample = sample;
    config_.seed = 11;
    chunk_ = 512;
    config_.use_cache = true;
    const GenerationResult batch = run(prompts);
    for (size_t i = 0; i < prompts.size(); ++i)
      expect_same(run({prompts[i]}).rows[0], batch.rows[i], "alone");
    for (const int chunk : {7, 1}) {
      chunk_ = chunk;
      const GenerationResult other = run(prompts);
      for (size_t i = 0; i < prompts.size(); ++i) expect_same(other.rows[i], batch.rows[i], "in chunks");
    }
    chunk_ = 512;
    config_.use_cache = false;
    const GenerationResult recomputed = run(prompts);
    for (size_t i = 0; i < prompts.size(); ++i) expect_same(recomputed.rows[i], batch.rows[i], "recomputed");
  }
}

TEST_P(PrefixPaths, ABoundThatIsNotReachedChangesNothing) {
  const Ids prompt = random_ids(long_, 7);
  const GeneratedRow free = run({prompt}).rows[0];
  config_.max_kv_size = static_cast<int>(long_) + new_tokens_;
  expect_same(run({prompt}).rows[0], free, "a bound as long as the row");
}

TEST_P(PrefixPaths, RejectedDraftsAreTakenBackPastTheBound) {
  const Ids phrase = random_ids(5, 9);
  Ids prompt;
  while (prompt.size() < long_) prompt.insert(prompt.end(), phrase.begin(), phrase.end());
  config_.max_kv_size = 9;
  config_.num_sink_tokens = 2;
  new_tokens_ = 20;
  const GeneratedRow plain = run({prompt}).rows[0];
  config_.prompt_lookup_num_tokens = 6;
  const auto store = std::make_shared<PrefixStore>(*model_);
  expect_same(run({prompt}, store).rows[0], plain, "with drafts");
  Ids next = prompt;
  next.insert(next.end(), plain.ids.begin(), plain.ids.end());
  new_tokens_ = 4;
  const GenerationResult continued = run({next}, store);
  if (!depends_on_length()) EXPECT_EQ(continued.timings.reused_tokens, next.size() - 1);
  config_.prompt_lookup_num_tokens.reset();
  expect_same(continued.rows[0], run({next}).rows[0], "after drafts");
}

TEST_P(PrefixPaths, BeamsGoOnFromAKeptPrompt) {
  config_.num_beams = 3;
  const auto store = std::make_shared<PrefixStore>(*model_);
  const Ids prompt = random_ids(long_, 8);
  const GeneratedRow first = run({prompt}, store).rows[0];
  const GenerationResult again = run({prompt}, store);
  EXPECT_EQ(again.timings.reused_tokens, prompt.size() - 1);
  expect_same(again.rows[0], first, "beams");
  EXPECT_EQ(again.rows[0].sequence_score, first.sequence_score);
}

INSTANTIATE_TEST_SUITE_P(Families, PrefixPaths, testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace genkit::generate

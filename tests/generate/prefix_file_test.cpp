// Files of kept rows: what is refused, and what is left behind.
#include "genkit/generate/prefix_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "genkit/base/error.h"
#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/safetensors.h"
#include "genkit/models/registry.h"
#include "tests/base/temp_folder.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TempFolder;

std::unique_ptr<models::Model> load(const std::string& name,
                                    ops::Arithmetic arithmetic = ops::Arithmetic::kFast) {
  io::Checkpoint checkpoint =
      io::Checkpoint::open(fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models" / name);
  return models::load_model(checkpoint, {arithmetic});
}

class PrefixFile : public testing::Test {
 protected:
  void SetUp() override {
    model_ = load("gemma3_text");
    GenerationRequest request;
    request.prompts = {{.ids = std::vector<int32_t>(90, 7)}};
    request.config.max_new_tokens = 3;
    request.config.max_kv_size = 20;
    request.prefixes = std::make_shared<PrefixStore>(*model_);
    generate(*model_, nullptr, request);
    kept_ = *request.prefixes->newest();
    file_ = folder_.path() / "row.safetensors";
    save_prefix(file_, kept_, *model_);
  }

  std::string refusal() const {
    const std::string message = message_of<FormatError>([&] { load_prefix(file_, *model_); });
    EXPECT_TRUE(message.starts_with(file_.string() + ": ")) << message;
    return message.substr(std::min(message.size(), file_.string().size() + 2));
  }

  /// What is said when one part of the file is another. Null arrays leave a tensor out.
  std::string refusal_with(const std::map<std::string, std::string>& metadata,
                           const std::map<std::string, std::optional<mx::array>>& tensors = {}) {
    auto all = io::load_safetensors(file_);
    auto texts = io::SafetensorsFile::open(file_)->metadata();
    for (auto& [name, array] : all) array.eval();
    for (const auto& [name, array] : tensors) {
      all.erase(name);
      if (array) all.emplace(name, *array);
    }
    for (const auto& [key, value] : metadata) texts[key] = value;
    const std::string whole = test::read_all(file_);
    const fs::path changed = folder_.path() / "changed";
    io::save_safetensors(changed, all, texts);
    fs::rename(changed, file_);
    const std::string message = refusal();
    folder_.write("row.safetensors", whole);
    return message;
  }

  TempFolder folder_;
  std::unique_ptr<models::Model> model_;
  KeptPrefix kept_;
  fs::path file_;
};

TEST_F(PrefixFile, ComesBackAsItWas) {
  const KeptPrefix loaded = load_prefix(file_, *model_);
  EXPECT_EQ(loaded.tokens, kept_.tokens);
  EXPECT_EQ(loaded.rope_length, kept_.rope_length);
  EXPECT_EQ(loaded.row.bound, kept_.row.bound);
  save_prefix(folder_.path() / "again", loaded, *model_);
  EXPECT_EQ(test::read_all(folder_.path() / "again"), test::read_all(file_));
  EXPECT_LT(fs::file_size(file_), 90 * 4 * 2 * 4 * 32u) << "windows and bounds keep no whole rows";
}

TEST_F(PrefixFile, SaysWhatHooksDidWhereTheyDidSomething) {
  EXPECT_EQ(io::SafetensorsFile::open(file_)->metadata().at("version"), "1");  // for older programs
  KeptPrefix steered = kept_;
  steered.marks.assign(steered.tokens.size(), 0);
  steered.marks[5] = ~uint64_t{0} - 3;
  save_prefix(file_, steered, *model_);
  EXPECT_EQ(io::SafetensorsFile::open(file_)->metadata().at("version"), "2");
  EXPECT_EQ(load_prefix(file_, *model_).marks, steered.marks);
}

TEST_F(PrefixFile, IsOfOneModelAlone) {
  const auto exact = load("gemma3_text", ops::Arithmetic::kExact);
  const auto other = load("gemma2");
  for (const models::Model* model : {exact.get(), other.get()}) {
    EXPECT_EQ(
        message_of<FormatError>([&] { load_prefix(file_, *model); }),
        fmt::format("{}: model: made by another model (gemma3_text {}), not by this one ({} {})",
                    file_.string(), model_->fingerprint(), model->config().model_type, model->fingerprint()));
  }
  EXPECT_EQ(load("gemma3_text")->fingerprint(), model_->fingerprint());
  const FakeModel fake;
  EXPECT_EQ(message_of<ArgumentError>([&] { save_prefix(file_, kept_, fake); }),
            "model: it was made in memory and has no fingerprint");
}

TEST_F(PrefixFile, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(refusal_with({{"format", "pt"}}), "format: no prompt cache of this program");
  EXPECT_EQ(refusal_with({{"version", "3"}}),
            "version: 3 is later than 2, the latest that this program knows");
  EXPECT_EQ(refusal_with({{"version", "x"}}), "version: expected an integer of at least 1, got x");
  EXPECT_EQ(refusal_with({{"max_kv_size", "-1"}}), "max_kv_size: expected an integer of at least 0, got -1");
  EXPECT_EQ(refusal_with({{"max_kv_size", "99999999999"}}),
            "max_kv_size: expected an integer of at least 0, got 99999999999");
  EXPECT_EQ(refusal_with({{"num_sink_tokens", "20"}}),
            "num_sink_tokens: expected fewer than max_kv_size (20), got 20");
  EXPECT_EQ(refusal_with({{"max_kv_size", "0"}}), "num_sink_tokens: without max_kv_size");
  EXPECT_EQ(refusal_with({}, {{"tokens", std::nullopt}}), "tokens: missing");
  EXPECT_EQ(refusal_with({}, {{"tokens", mx::zeros({92}, mx::float32)}}), "tokens: expected a list of int32");
  EXPECT_EQ(refusal_with({}, {{"tokens", mx::full({92}, 70000, mx::int32)}}),
            "tokens: id 70000 at position 0 is outside the vocabulary of 512");
  EXPECT_EQ(refusal_with({}, {{"layers.2.keys", std::nullopt}}), "layers.2.keys: missing");
  EXPECT_THAT(refusal_with({}, {{"layers.1.values", mx::zeros({28, 3, 5})}}),
              testing::StartsWith("layers.1.values: expected float32 of shape [positions, "));
  const mx::array short_keys = mx::zeros({5, kept_.row.layers[0]->shape().kv_heads, 16});
  EXPECT_EQ(refusal_with({}, {{"layers.0.values", short_keys}}),
            "layers.0.values: has not as many positions as the keys");
  EXPECT_EQ(refusal_with({}, {{"layers.0.keys", short_keys}, {"layers.0.values", short_keys}}),
            "layers.0.keys: 5 positions of 92 tokens are not what this layer keeps");
  EXPECT_EQ(refusal_with({}, {{"layers.3.sink_keys", std::nullopt}}), "layers.3.sink_keys: missing");
  EXPECT_EQ(refusal_with({}, {{"steering", mx::zeros({91}, mx::uint64)}}),
            "steering: expected uint64 of shape [92], one a token");
  EXPECT_EQ(refusal_with({}, {{"steering", mx::zeros({92}, mx::int32)}}),
            "steering: expected uint64 of shape [92], one a token");
  EXPECT_THAT(refusal_with({}, {{"more", mx::zeros({1})}}), testing::StartsWith("layers: holds "));
}

TEST_F(PrefixFile, CutOffAnywhereIsAnError) {
  const std::string whole = test::read_all(file_);
  for (size_t size = 0; size < whole.size(); size += 1 + whole.size() / 97) {
    folder_.write("row.safetensors", whole.substr(0, size));
    EXPECT_FALSE(refusal().empty()) << size;
  }
}

TEST_F(PrefixFile, WhatCannotBeWrittenLeavesTheOldFileAndNothingElse) {
  const std::string before = test::read_all(file_);
  // No room: the system refuses what goes past this size, as a full disk would.
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of<IoError>([&] { save_prefix(file_, kept_, *model_); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, file_.string() + ": cannot write: File too large");
  EXPECT_EQ(test::read_all(file_), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
  // /proc is a folder that nobody may write to.
  EXPECT_THAT(message_of<IoError>([&] { save_prefix("/proc/row.safetensors", kept_, *model_); }),
              testing::StartsWith("/proc/row.safetensors: cannot write: "));
  EXPECT_THAT(message_of<IoError>([&] { load_prefix(folder_.path() / "none", *model_); }),
              testing::HasSubstr("none"));
}

}  // namespace
}  // namespace genkit::generate

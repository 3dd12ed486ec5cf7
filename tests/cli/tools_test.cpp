// forward, tokenize, info, goldens, bench, download, chat by script.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "genkit/io/safetensors.h"
#include "program.h"

namespace genkit::test {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;

TEST(Program, VersionAndNames) {
  const Outcome run = run_program({"mlxgk", "--version"});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.out, testing::MatchesRegex("mlxgk [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_THAT(run_program({"mlxgk-generate", "--help"}).out, testing::StartsWith("Usage: mlxgk-generate"));
  EXPECT_THAT(run_program({"mlxgk-eval", "--help"}).out, testing::StartsWith("Usage: mlxgk-eval"));
}

TEST(Forward, WritesLogitsAndStates) {
  const TemporaryFolder folder;
  const std::string file = folder / "f.safetensors";
  Outcome run = run_program({"mlxgk", "forward", "--model", golden_model("llama"), "--prompt-ids", "1,5,6",
                             "--hidden", "all", "--out", file});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto tensors = io::load_safetensors(file);
  const json config = json::parse(std::ifstream(golden_model("llama") + "/config.json"));
  const int layers = config["num_hidden_layers"], hidden = config["hidden_size"],
            vocab = config["vocab_size"];
  EXPECT_EQ(tensors.size(), static_cast<size_t>(layers) + 4);  // logits, ids, embedding, final
  EXPECT_EQ(tensors.at("logits").shape(), (mlx::core::Shape{3, vocab}));
  EXPECT_EQ(tensors.at("hidden.embedding").shape(), (mlx::core::Shape{3, hidden}));
  EXPECT_EQ(tensors.at("hidden.0").shape(), (mlx::core::Shape{3, hidden}));
  EXPECT_EQ(tensors.at("hidden.final").shape(), (mlx::core::Shape{3, hidden}));
  run = run_program({"mlxgk", "forward", "--model", golden_model("llama"), "--prompt-ids", "1", "--hidden",
                     "-1,final", "--out", file});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto few = io::load_safetensors(file);
  EXPECT_EQ(few.size(), 4u);
  EXPECT_EQ(few.count("hidden." + std::to_string(layers - 1)), 1u);
  run = run_program({"mlxgk", "forward", "--model", golden_model("llama"), "--prompt-ids", "1", "--hidden",
                     "99", "--out", file});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("--hidden: block 99 of a model with"));
}

TEST(Tokenize, ThereAndBack) {
  const std::string tokenizer = golden_tokenizer("spbpe_gemma");
  const Outcome ids = run_program({"mlxgk", "tokenize", "--model", tokenizer, "naïve café"});
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_THAT(ids.out, testing::StartsWith("2,"));  // BOS
  const Outcome text =
      run_program({"mlxgk", "tokenize", "--model", tokenizer, "--skip-special", "--decode", ids.out});
  EXPECT_EQ(text.out, "naïve café\n") << text.err;
  const json plain = json::parse(
      run_program({"mlxgk", "tokenize", "--model", tokenizer, "--no-special", "--json", "a b"}).out);
  EXPECT_EQ(plain["ids"].size(), plain["pieces"].size());
  EXPECT_EQ(plain["offsets"].back()[1], 3);
  const Outcome wrong = run_program({"mlxgk", "tokenize", "--model", tokenizer, "--decode", "1,999999"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("999999 is not an id of this tokenizer"));
}

TEST(Info, DescribesAModel) {
  const json info = json::parse(run_program({"mlxgk", "info", golden_model("gemma3_text"), "--json"}).out);
  EXPECT_EQ(info["architecture"], "gemma3_text");
  EXPECT_EQ(info["runs"], true);
  EXPECT_EQ(info["formats"]["F32"]["tensors"], info["tensors"]);
  EXPECT_EQ(info["missing"], json::array());
  EXPECT_EQ(info["unused"], json::array());
  EXPECT_EQ(info["sliding_window"]["size"], 8);
  EXPECT_EQ(run_program({"mlxgk", "info", golden_tokenizer("spbpe_gemma")}).code, 0);
}

TEST(Goldens, CountsAndFails) {
  const std::string data = std::string(MLXGK_TEST_DATA) + "/../goldens";
  const Outcome good = run_program({"mlxgk", "goldens", data, "--only", "streaming"});
  EXPECT_EQ(good.code, 0) << good.out;
  EXPECT_THAT(good.out, EndsWith("\n40 passed, 0 failed\n"));
  const Outcome unknown = run_program({"mlxgk", "goldens", data, "--only", "streamin"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean `streaming`?"));

  // A changed expectation must be noticed.
  const TemporaryFolder folder;
  std::filesystem::create_symlink(std::filesystem::canonical(data + "/tokenizers"), folder / "tokenizers");
  json streaming = json::parse(std::ifstream(data + "/streaming.json"));
  streaming["cases"][3]["prefix_decodes"][0] = "something else";
  std::ofstream(folder / "streaming.json") << streaming;
  std::ofstream(folder / "unheard_of.json") << R"({"cases": [{"name": "a"}, {"name": "b"}]})";
  const Outcome bad = run_program({"mlxgk", "goldens", folder.path()});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.out, EndsWith("\n39 passed, 3 failed\n"));
  EXPECT_THAT(bad.out, HasSubstr("prefix_decodes[0]: differs at byte 0"));
  EXPECT_THAT(bad.out, HasSubstr("the format unheard_of is not known"));
}

TEST(Bench, PrintsItsFigures) {
  const Outcome run = run_program({"mlxgk", "bench", "--model", golden_model("llama"), "--prompt-tokens", "8",
                                   "--new-tokens", "4", "--batch", "2", "--threads", "1", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = json::parse(run.out);
  for (const char* field :
       {"prompt_tps", "gen_tps", "load_s", "first_token_s", "peak_rss_mb", "read_gb_s", "bandwidth_share"}) {
    EXPECT_GT(result.at(field).get<double>(), 0) << field;
  }
  EXPECT_EQ(result["threads"], 1);
}

TEST(Download, FindsWhatIsInTheCache) {
  const TemporaryFolder folder;
  namespace fs = std::filesystem;
  const fs::path repository = fs::path(folder.path()) / "models--owner--name";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots" / "abc");
  std::ofstream(repository / "refs" / "main") << "abc";
  ::setenv("HF_HUB_CACHE", folder.path().c_str(), 1);
  const Outcome found = run_program({"mlxgk-download", "owner/name"});
  EXPECT_EQ(found.out, (repository / "snapshots" / "abc").string() + "\n") << found.err;
  const Outcome missing = run_program({"mlxgk-download", "owner/other"});
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("owner/other: not on this machine"));
}

TEST(Chat, AScriptedConversation) {
  const TemporaryFolder folder;
  const std::vector<std::string> args = {"mlxgk",        "chat",
                                         "--model",      golden_model("llama"),
                                         "--tokenizer",  golden_tokenizer("bytebpe_chatml"),
                                         "--max-tokens", "3"};
  const Outcome run =
      run_program(args, {.input = "hello\n/save " + (folder / "c.json") + "\n/reset\nagain\n/quit\nnever\n"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json saved = json::parse(std::ifstream(folder / "c.json"));
  ASSERT_EQ(saved.size(), 2u);
  EXPECT_EQ(saved[0], json({{"role", "user"}, {"content", "hello"}}));
  EXPECT_EQ(saved[1]["role"], "assistant");
  const Outcome wrong = run_program(args, {.input = "/sav x\n"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("there is no command /sav; did you mean `/save`?"));
}

}  // namespace
}  // namespace genkit::test

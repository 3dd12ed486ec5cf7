// What the user reads when something is wrong: one line, and the right exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "program.h"

namespace genkit::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// One line on standard error that says `what`, nothing on standard output.
void expect_error(const Outcome& run, int code, const std::string& what) {
  EXPECT_EQ(run.code, code) << run.err;
  EXPECT_THAT(run.err, StartsWith("mlxgk: error: "));
  EXPECT_THAT(run.err, HasSubstr(what));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_EQ(run.out, "");
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(Usage, UnknownCommandsAndFlagsSuggestTheNearest) {
  expect_error(run_program({"mlxgk", "genrate"}), 2, "there is no command genrate; did you mean `generate`?");
  expect_error(run_program({"mlxgk", "generate", "--max-token", "3"}), 2,
               "unknown option --max-token; did you mean `--max-tokens`?");
  expect_error(run_program({"mlxgk-generate", "--model", "x", "stray"}), 2, "unexpected argument stray");
}

TEST(Usage, WhatIsMissingIsNamed) {
  expect_error(run_program({"mlxgk", "generate", "--prompt", "x"}), 2, "--model is missing");
  expect_error(run_program({"mlxgk", "generate", "--model", golden_model("llama")}), 2,
               "nothing to continue");
  expect_error(run_program({"mlxgk", "goldens"}), 2, "DIR is missing");
  expect_error(run_program({"mlxgk", "info"}), 2, "FILE_OR_DIR is missing");
  EXPECT_EQ(run_program({"mlxgk"}).code, 2);
}

TEST(Usage, HelpFitsEightyColumnsAndNamesEveryOption) {
  for (const char* command :
       {"generate", "chat", "forward", "steer", "tokenize", "info", "bench", "goldens", "download"}) {
    const Outcome run = run_program({"mlxgk", command, "--help"});
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.err, "");
    EXPECT_THAT(run.out, StartsWith(std::string("Usage: mlxgk ") + command));
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
  const std::string help = run_program({"mlxgk-generate", "--help"}).out;
  for (const char* flag : {"--model",
                           "--prompt",
                           "--messages-json",
                           "--max-tokens",
                           "--temp",
                           "--top-p",
                           "--top-k",
                           "--seed",
                           "--stop,",
                           "--stop-strings",
                           "--auto-chat",
                           "--no-auto-chat",
                           "--assume-user-chat",
                           "--system",
                           "--prompt-file",
                           "--prompt-ids",
                           "--generation-config",
                           "--output",
                           "--threads",
                           "--tokenizer",
                           "--no-repeat-ngram-size",
                           "--explain-config",
                           "--exact",
                           "--min-p"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST(Options, BadValuesNameTheOption) {
  const std::string model = golden_model("llama");
  const auto generate = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"mlxgk", "generate", "--model", model, "--prompt-ids", "5,6"};
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args);
  };
  expect_error(generate({"--top-p", "1.7", "--do-sample"}), 2, "top_p: expected a number in (0, 1], got 1.7");
  expect_error(generate({"--max-tokens", "many"}), 2, "max_new_tokens");
  expect_error(generate({"--num-beam-groups", "4"}), 2, "num_beam_groups");
  expect_error(generate({"--num-beams", "2", "--num-return-sequences", "2"}), 2,
               "--num-return-sequences: text output has place for one");
  expect_error(generate({"--top-p", "0.9", "--do-sample", "false"}), 2, "top_p");
  expect_error(generate({"--logprobs", "2"}), 2, "--logprobs: text output has no place for it");
  expect_error(generate({"--auto-chat", "--no-auto-chat"}), 2, "exclude each other");
  expect_error(generate({"--threads", "0"}), 2, "--threads");
  expect_error(generate({"--stop", "a,,b"}), 2, "--stop: an empty string");
  expect_error(generate({"--stop", "\\q"}), 2, "unknown escape \\q");
  expect_error(generate({"--output", "xml"}), 2, "--output");
}

TEST(Options, GenerationConfigKeysAreChecked) {
  const TemporaryFolder folder;
  write_file(folder / "g.json", R"({"max_new_token": 3})");
  const Outcome run = run_program({"mlxgk", "generate", "--model", golden_model("llama"), "--prompt-ids", "5",
                                   "--generation-config", folder / "g.json"});
  expect_error(run, 2, "max_new_tokens");
  expect_error(run_program({"mlxgk", "generate", "--model", golden_model("llama"), "--prompt-ids", "5",
                            "--generation-config", folder / "none.json"}),
               1, "none.json: No such file or directory");
}

TEST(Prompts, WhatCannotBeContinued) {
  const std::string model = golden_model("llama"), tokenizer = golden_tokenizer("bytebpe_llama3");
  const auto generate = [&](std::vector<std::string> more, const RunOptions& options = {}) {
    std::vector<std::string> args = {"mlxgk",       "generate", "--model",       model,
                                     "--tokenizer", tokenizer,  "--no-auto-chat"};
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args, options);
  };
  expect_error(generate({"--prompt", ""}), 2, "--prompt: the prompt is empty");
  expect_error(generate({"--prompt", "ab\xff"}), 2, "--prompt: not UTF-8 at byte 2");
  expect_error(generate({"--prompt", "-"}, {.input = "a\xc3"}), 2, "--prompt: not UTF-8 at byte 1");
  expect_error(generate({"--prompt-ids", "1,x"}), 2,
               "--prompt-ids: expected token ids like 1,2,3, got \"x\"");
  expect_error(generate({"--prompt-ids", "1,99999"}), 2, "99999");
  expect_error(generate({"--prompt-file", "-"}), 2, "--prompt-file: standard input holds no prompt");
  expect_error(generate({"--prompt-file", "-"}, {.input = "one\n\nthree\n"}), 2,
               "standard input: line 2: the prompt is empty");
  expect_error(generate({"--prompt-file", "-", "--prompt-format", "jsonl"},
                        {.input = "{\"prompt\":\"a\",\"topp\":1}\n"}),
               2, "standard input: line 1");
  expect_error(generate({"--messages-json", "{}"}), 2, "--messages-json: expected an array of messages");
  std::string ids = "1";
  for (int i = 0; i < 5000; ++i) ids += ",5";
  expect_error(generate({"--prompt-ids", ids}), 2, "5001 tokens are more than the model's 128 positions");
}

TEST(Prompts, ANulIsACharacter) {
  const Outcome run = run_program({"mlxgk", "generate", "--model", golden_model("llama"), "--tokenizer",
                                   golden_tokenizer("bytebpe_llama3"), "--no-auto-chat", "--prompt", "-",
                                   "--max-tokens", "1", "--output", "json"},
                                  {.input = std::string("a\0b\n", 4)});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(R"("prompt":"a\u0000b")"));
}

TEST(Files, MissingOrBrokenModels) {
  expect_error(run_program({"mlxgk", "generate", "--model", "no/such/model", "--prompt", "x"}), 1,
               "no/such/model: no such file or folder");
  expect_error(run_program({"mlxgk", "generate", "--model", "owner/name", "--prompt", "x"}), 1,
               "no model of that name in the local cache");
  const TemporaryFolder folder;
  for (const char* file : {"config.json", "generation_config.json"}) {
    std::filesystem::copy_file(golden_model("llama") + "/" + file, folder / file);
  }
  const std::string weights = read_file(golden_model("llama") + "/model.safetensors");
  write_file(folder / "model.safetensors", weights.substr(0, weights.size() / 2));
  expect_error(run_program({"mlxgk", "generate", "--model", folder.path(), "--prompt-ids", "5"}), 1,
               "model.safetensors");
  write_file(folder / "broken.gguf", "GGUF\x03");
  expect_error(run_program({"mlxgk", "info", folder / "broken.gguf"}), 1, "broken.gguf");
}

TEST(Files, ATokenizerOfAnotherModelIsRefused) {
  const std::string weights = real_weights();
  if (weights.empty()) GTEST_SKIP() << "the real weights have not been fetched";
  expect_error(run_program({"mlxgk", "generate", "--model", weights, "--tokenizer",
                            golden_tokenizer("spbpe_gemma"), "--prompt", "x"}),
               2, "--tokenizer: ");
}

TEST(Files, ATokenizerWithMoreIdsThanTheModelIsRefused) {
  const std::string weights = real_weights();
  if (weights.empty()) GTEST_SKIP() << "the real weights have not been fetched";
  expect_error(run_program({"mlxgk", "generate", "--model", golden_model("llama"), "--tokenizer", weights,
                            "--prompt", "x"}),
               2, "has ids up to 262143, the model only");
}

TEST(Output, WhereNothingCanBeWritten) {
  const std::vector<std::string> args = {"mlxgk",        "generate", "--model",      golden_model("llama"),
                                         "--prompt-ids", "5,6,7",    "--max-tokens", "4"};
  Outcome run = run_program(args, {.close_stdout = true});
  expect_error(run, 1, "standard output: Bad file descriptor");
  run = run_program(args, {.stdout_full = true});
  expect_error(run, 1, "standard output: No space left on device");
  expect_error(run_program({"mlxgk", "forward", "--model", golden_model("llama"), "--prompt-ids", "5,6",
                            "--out", "/no/such/folder/f.safetensors"}),
               1, "/no/such/folder/f.safetensors");
}

TEST(Output, AReaderThatLeavesIsNoError) {
  const Outcome run = run_program(
      {"mlxgk", "generate", "--model", golden_model("llama"), "--prompt-ids", "5,6,7", "--max-tokens", "60",
       "--ignore-eos", "--output", "jsonl", "--prompt-ids", "8,9", "--batch-size", "1"},
      {.read_only = 1});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
}

}  // namespace
}  // namespace genkit::test

// What `mlxgk generate` writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "program.h"

namespace genkit::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::vector<std::string> generate(std::vector<std::string> more) {
  std::vector<std::string> args = {"mlxgk",        "generate", "--model", golden_model("llama"),
                                   "--max-tokens", "6"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::vector<std::string> with_text(std::vector<std::string> more) {
  more.insert(more.end(), {"--tokenizer", golden_tokenizer("bytebpe_llama3"), "--no-auto-chat"});
  return generate(std::move(more));
}

json parse(const Outcome& run) {
  EXPECT_EQ(run.code, 0) << run.err;
  return json::parse(run.out);
}

TEST(Generate, JsonHoldsEverything) {
  const json result =
      parse(run_program(with_text({"--prompt", "Hello", "--output", "json", "--logprobs", "3"})));
  ASSERT_EQ(result["rows"].size(), 1u);
  const json& row = result["rows"][0];
  EXPECT_EQ(row["prompt"], "Hello");
  EXPECT_EQ(row["ids"].size(), 6u);
  EXPECT_EQ(row["finish_reason"], "length");
  EXPECT_EQ(row["logprobs"].size(), 6u);
  EXPECT_EQ(row["top_logprobs"][0].size(), 3u);
  EXPECT_EQ(row["top_logprobs"][0][0]["id"], row["ids"][0]);  // greedy takes the best
  EXPECT_TRUE(row["text"].is_string());
  EXPECT_EQ(result["timings"]["new_tokens"], 6);
  EXPECT_GT(result["timings"]["prefill_s"], 0.0);
}

TEST(Generate, TextIsWhatJsonSays) {
  const json row = parse(run_program(with_text({"--prompt", "Hello", "--output", "json"})))["rows"][0];
  const Outcome text = run_program(with_text({"--prompt", "Hello"}));
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.err, "");
  const std::string want = row["text"];
  EXPECT_EQ(text.out, want.ends_with('\n') ? want : want + "\n");
}

TEST(Generate, ABatchIsItsPromptsOneByOne) {
  const std::vector<std::string> prompts = {"5,6,7", "9", "11,12,13,14,15,16,17,18"};
  std::vector<std::string> args = {"--output", "jsonl"};
  for (const std::string& p : prompts) args.insert(args.end(), {"--prompt-ids", p});
  for (const char* batch : {"1", "2", "32"}) {
    auto with_batch = args;
    with_batch.insert(with_batch.end(), {"--batch-size", batch});
    const Outcome run = run_program(generate(with_batch));
    ASSERT_EQ(run.code, 0) << run.err;
    std::istringstream lines(run.out);
    std::string line;
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSERT_TRUE(std::getline(lines, line));
      const json row = json::parse(line);
      EXPECT_EQ(row["index"], i);
      const json alone =
          parse(run_program(generate({"--prompt-ids", prompts[i], "--output", "json"})))["rows"][0];
      EXPECT_EQ(row["ids"], alone["ids"]) << "batch size " << batch << ", prompt " << i;
    }
    EXPECT_FALSE(std::getline(lines, line));
  }
}

TEST(Generate, ASampleDoesNotDependOnTheBatchSize) {
  std::vector<std::string> args = {"--output", "json", "--temp", "3", "--seed", "7"};
  for (const char* p : {"5,6", "5,6", "5,6"}) args.insert(args.end(), {"--prompt-ids", p});
  auto one = args;
  one.insert(one.end(), {"--batch-size", "1"});
  const json together = parse(run_program(generate(args)))["rows"],
             alone = parse(run_program(generate(one)))["rows"];
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(together[i]["ids"], alone[i]["ids"]);
  EXPECT_NE(together[0]["ids"], together[1]["ids"]);  // rows draw their own
}

TEST(Generate, SpeculationIsCountedAndChangesNoToken) {
  const std::vector<std::string> prompt = {"--prompt-ids", "5,6,7,8,5,6,7", "--output", "json"};
  const json plain = parse(run_program(generate(prompt)))["rows"][0];
  EXPECT_FALSE(plain.contains("drafted"));
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), prompt.begin(), prompt.end());
    return parse(run_program(generate(more)))["rows"][0];
  };
  const json lookup = with({"--prompt-lookup-num-tokens", "4", "--max-matching-ngram-size", "2"});
  EXPECT_EQ(lookup["ids"], plain["ids"]);
  EXPECT_TRUE(lookup.contains("drafted"));
  // The model as its own draft is always right.
  const json drafted = with({"--draft-model", golden_model("llama"), "--num-draft-tokens", "2",
                             "--assistant-confidence-threshold", "0"});
  EXPECT_EQ(drafted["ids"], plain["ids"]);
  EXPECT_EQ(drafted["drafted"], 3);
  EXPECT_EQ(drafted["accepted"], 3);
  EXPECT_EQ(with({"--draft-model", golden_model("llama_draft"), "--num-draft-tokens", "auto"})["ids"],
            plain["ids"]);
}

TEST(Generate, SpeculationIsRefusedByNameWhereItCannotBe) {
  const auto refused = [](std::vector<std::string> more) {
    more.insert(more.end(), {"--prompt-ids", "5,6"});
    const Outcome run = run_program(generate(more));
    EXPECT_EQ(run.code, 2);
    return run.err;
  };
  EXPECT_THAT(refused({"--prompt-lookup-num-tokens", "4", "--num-beams", "2"}),
              HasSubstr("prompt_lookup_num_tokens: 4 has no effect in beam decoding"));
  EXPECT_THAT(refused({"--draft-model", golden_model("llama_draft"), "--num-beams", "2"}),
              HasSubstr("assistant_model: a draft model has no effect in beam decoding"));
  EXPECT_THAT(refused({"--draft-model", golden_model("gemma2")}),
              HasSubstr("assistant_model: its vocabulary of"));
  EXPECT_THAT(refused({"--num-draft-tokens", "4"}),
              HasSubstr("num_assistant_tokens: 4 has no effect in greedy"));
}

TEST(Generate, TextOfSeveralPromptsIsSetApart) {
  const Outcome run = run_program(with_text({"--prompt", "Hello", "--prompt", "You"}));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, testing::StartsWith("==> 1 <==\n"));
  EXPECT_THAT(run.out, HasSubstr("\n==> 2 <==\n"));
}

TEST(Generate, PromptsComeFromFilesAndStandardInput) {
  const json direct = parse(run_program(with_text({"--prompt", "Hello", "--output", "json"})))["rows"][0];
  const auto ids_of = [&](const std::vector<std::string>& args, const std::string& input) {
    return parse(run_program(with_text(args), {.input = input}))["rows"];
  };
  EXPECT_EQ(ids_of({"--prompt", "-", "--output", "json"}, "Hello\n")[0]["ids"], direct["ids"]);
  const json lines = ids_of({"--prompt-file", "-", "--output", "json"}, "Hello\nYou\n");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["ids"], direct["ids"]);
  const json objects = ids_of({"--prompt-file", "-", "--output", "json"},
                              "{\"prompt\": \"Hello\", \"max_new_tokens\": 2}\n\n{\"prompt_ids\": [5, 6]}\n");
  ASSERT_EQ(objects.size(), 2u);
  EXPECT_EQ(objects[0]["ids"].size(), 2u);
  EXPECT_EQ(objects[1]["prompt_ids"], json({5, 6}));
  EXPECT_EQ(objects[1]["ids"].size(), 6u);
}

TEST(Generate, AStopStringEndsTheText) {
  const std::string text =
      parse(run_program(with_text({"--prompt", "Hello", "--output", "json"})))["rows"][0]["text"];
  size_t at = 1;  // after some text, any character of one byte
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0x80) != 0) ++at;
  ASSERT_LT(at, text.size()) << "no ASCII character in \"" << text << "\"";
  std::string escaped;
  char hex[8];
  std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(text[at]));
  const json row =
      parse(run_program(with_text({"--prompt", "Hello", "--output", "json", "--stop", hex})))["rows"][0];
  EXPECT_EQ(row["finish_reason"], "stop_string");
  EXPECT_EQ(row["stop_string"], text.substr(at, 1));
  EXPECT_EQ(row["text"], text.substr(0, text.find(text[at])));
}

TEST(Generate, ExplainConfigSaysWhereValuesComeFrom) {
  const Outcome run = run_program(generate({"--explain-config", "--temp", "0.5"}));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("temperature = 0.5 (command line)"));
  EXPECT_THAT(run.out, HasSubstr("max_new_tokens = 6 (command line)"));
}

TEST(Generate, TheMessageFlagsUseTheTemplate) {
  const std::vector<std::string> base = {"mlxgk",        "generate",
                                         "--model",      golden_model("llama"),
                                         "--tokenizer",  golden_tokenizer("bytebpe_llama3"),
                                         "--max-tokens", "2",
                                         "--output",     "json"};
  const auto prompt_ids = [&](std::vector<std::string> more) {
    auto args = base;
    args.insert(args.end(), more.begin(), more.end());
    return parse(run_program(args))["rows"][0]["prompt_ids"];
  };
  const json automatic = prompt_ids({"--prompt", "hi"});
  EXPECT_EQ(automatic, prompt_ids({"--prompt", "hi", "--assume-user-chat"}));
  EXPECT_EQ(automatic, prompt_ids({"--messages-json", R"([{"role": "user", "content": "hi"}])"}));
  EXPECT_NE(automatic, prompt_ids({"--prompt", "hi", "--no-auto-chat"}));
  EXPECT_EQ(
      prompt_ids({"--prompt", "hi", "--system", "Be brief."}),
      prompt_ids({"--messages-json",
                  R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}])"}));
}

}  // namespace
}  // namespace genkit::test

// --prompt-cache, a conversation's timings, and prompts that bring their own options.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/array.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "genkit/io/safetensors.h"
#include "program.h"

namespace genkit::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

Outcome generate(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> args = {"mlxgk", "generate", "--model", golden_model(model)};
  args.insert(args.end(), more.begin(), more.end());
  return run_program(args);
}

json row_of(const Outcome& run) {
  EXPECT_EQ(run.code, 0) << run.err;
  return run.code == 0 ? json::parse(run.out)["rows"][0] : json();
}

size_t reused(const Outcome& run) { return json::parse(run.out)["timings"]["reused_tokens"]; }

std::string joined(const json& ids) {
  std::string out;
  for (const int id : ids) out += (out.empty() ? "" : ",") + std::to_string(id);
  return out;
}

std::string a_long_prompt() {
  std::string ids = "5";
  for (int i = 0; i < 80; ++i) ids += "," + std::to_string(3 + i * 7 % 90);
  return ids;
}

void save_vector(const std::string& path, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(64);
  for (float& v : values) v = normal(engine);
  io::save_safetensors(path, {{"direction", mlx::core::array(values.data(), {64}, mlx::core::float32)}});
}

TEST(PromptCache, ASavedRowGoesOnAsIfItHadNotStopped) {
  for (const char* model : {"llama", "gemma3_text"}) {
    const TemporaryFolder folder;
    const std::string file = folder / "row.safetensors", prompt = a_long_prompt();
    const json whole =
        row_of(generate(model, {"--prompt-ids", prompt, "--max-tokens", "12", "--output", "json"}));
    const Outcome first = generate(model, {"--prompt-ids", prompt, "--max-tokens", "5", "--output", "json",
                                           "--prompt-cache", file, "--prompt-cache-save"});
    json ids = row_of(first)["ids"];
    EXPECT_EQ(reused(first), 0u);
    const std::string so_far = prompt + "," + joined(ids);
    const Outcome second = generate(
        model, {"--prompt-ids", so_far, "--max-tokens", "7", "--output", "json", "--prompt-cache", file});
    const json rest = row_of(second)["ids"];
    ids.insert(ids.end(), rest.begin(), rest.end());
    EXPECT_EQ(ids, whole["ids"]) << model;
    EXPECT_EQ(reused(second), 85u) << "all but the last token";
    // Several prompts may begin from it; the file stays as it is.
    const auto before = std::filesystem::last_write_time(file);
    const Outcome both = generate(model, {"--prompt-ids", so_far, "--prompt-ids", so_far + ",9",
                                          "--max-tokens", "7", "--output", "json", "--prompt-cache", file});
    EXPECT_EQ(row_of(both)["ids"], row_of(second)["ids"]);
    EXPECT_EQ(reused(both), 171u)
        << "the second has one token more in common with the first than with the file";
    EXPECT_EQ(std::filesystem::last_write_time(file), before);
  }
}

TEST(PromptCache, DrawnTokensGoOnWithTheSameSeed) {
  const TemporaryFolder folder;
  const std::string file = folder / "row.safetensors", prompt = a_long_prompt();
  const auto draw = [&](const std::string& ids, const char* count, std::vector<std::string> more) {
    more.insert(more.end(), {"--prompt-ids", ids, "--max-tokens", count, "--do-sample", "--seed", "3",
                             "--top-k", "0", "--ignore-eos", "--output", "json"});
    return row_of(generate("llama", more))["ids"];
  };
  const json whole = draw(prompt, "12", {});
  json ids = draw(prompt, "5", {"--prompt-cache", file, "--prompt-cache-save"});
  for (const int id : draw(prompt + "," + joined(ids), "7", {"--prompt-cache", file})) ids.push_back(id);
  EXPECT_EQ(ids, whole);
}

TEST(PromptCache, WhatCannotBeIsRefusedByName) {
  const TemporaryFolder folder;
  const std::string file = folder / "row.safetensors";
  const auto message = [&](std::vector<std::string> more, int code) {
    more.insert(more.begin(), {"--prompt-ids", "5,6,7", "--max-tokens", "3"});
    const Outcome run = generate("llama", more);
    EXPECT_EQ(run.code, code) << run.err;
    return run.err;
  };
  EXPECT_THAT(message({"--prompt-cache-save"}, 2), HasSubstr("name the file with --prompt-cache"));
  EXPECT_THAT(message({"--prompt-cache", file}, 1), HasSubstr("row.safetensors"));
  EXPECT_THAT(message({"--prompt-cache", file, "--prompt-cache-save", "--prompt-ids", "5"}, 2),
              HasSubstr("--prompt-cache-save: a file holds one prompt, not 2"));
  EXPECT_THAT(message({"--prompt-cache", file, "--prompt-cache-save", "--use-cache", "false"}, 2),
              HasSubstr("--prompt-cache: has no effect where use_cache is false"));
  EXPECT_THAT(
      message({"--prompt-cache", file, "--prompt-cache-save", "--prompt-logprobs", "1", "--output", "json"},
              2),
      HasSubstr("--prompt-cache: has no effect with prompt_logprobs, which needs the whole prompt"));
  EXPECT_THAT(message({"--prompt-cache", folder / "none/x", "--prompt-cache-save"}, 1),
              HasSubstr("none/x: cannot write: No such file or directory"));
  EXPECT_EQ(message({"--prompt-cache", file, "--prompt-cache-save"}, 0), "");
  const Outcome other = generate("gpt2", {"--prompt-ids", "5,6,7", "--prompt-cache", file});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("row.safetensors: model: made by another model (llama "));
  EXPECT_THAT(message({"--prompt-cache", file, "--exact"}, 1), HasSubstr("made by another model"));
  std::ofstream(file) << "no safetensors file at all";
  EXPECT_THAT(message({"--prompt-cache", file}, 1), HasSubstr("row.safetensors: "));
}

TEST(MaxKvSize, IsHonouredOrRefusedByName) {
  const auto ids = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--prompt-ids", a_long_prompt(), "--max-tokens", "8", "--output", "json"});
    return row_of(generate("llama", more))["ids"];
  };
  EXPECT_NE(ids({"--max-kv-size", "16"}), ids({}));
  EXPECT_EQ(ids({"--max-kv-size", "89"}), ids({}));
  EXPECT_EQ(ids({"--max-kv-size", "16"}), ids({"--max-kv-size", "16", "--max-kv-keep", "4"}));
  EXPECT_EQ(ids({"--max-kv-size", "16"}), ids({"--max-kv-size", "16", "--use-cache", "false"}));
  EXPECT_EQ(ids({"--max-kv-size", "16", "--num-beams", "2"}).size(), 8u);
  const Outcome run = generate("llama", {"--prompt-ids", "5", "--num-sink-tokens", "2"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("num_sink_tokens: 2 has no effect without max_kv_size"));
}

TEST(Chat, ATurnComputesOnlyWhatIsNew) {
  const std::vector<std::string> args = {"mlxgk",        "chat",
                                         "--model",      golden_model("gemma3_text"),
                                         "--tokenizer",  golden_tokenizer("bytebpe_chatml"),
                                         "--max-tokens", "3",
                                         "--timings"};
  const Outcome run = run_program(args, {.input = "hello\nagain\nand again\n"});
  ASSERT_EQ(run.code, 0) << run.err;
  std::istringstream lines(run.err);
  std::vector<int> prompt, from_cache;
  for (std::string line; std::getline(lines, line);) {
    int tokens = 0, cached = 0;
    std::sscanf(line.c_str(), "prompt %d tokens (%d of them", &tokens, &cached);
    prompt.push_back(tokens);
    from_cache.push_back(cached);
  }
  ASSERT_EQ(prompt.size(), 3u) << run.err;
  EXPECT_EQ(from_cache[0], 0);
  // The earlier prompt at least, without the token that the template may not repeat.
  EXPECT_GE(from_cache[1], prompt[0] - 1) << run.err;
  EXPECT_GE(from_cache[2], prompt[1] - 1) << run.err;
}

TEST(Chat, ASteeredTurnGoesOnFromSteeredTurns) {
  const TemporaryFolder folder;
  save_vector(folder / "v.safetensors", 1);
  const auto turns = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"mlxgk",         "chat",
                                     "--model",       golden_model("gemma3_text"),
                                     "--tokenizer",   golden_tokenizer("bytebpe_chatml"),
                                     "--max-tokens",  "3",
                                     "--steer",       folder / "v.safetensors",
                                     "--steer-layer", "0",
                                     "--alpha",       "3",
                                     "--timings"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome run = run_program(args, {.input = "hello\nagain\nand again\n"});
    EXPECT_EQ(run.code, 0) << run.err;
    return run;
  };
  const Outcome with = turns({}), without = turns({"--use-cache", "false"});
  EXPECT_EQ(with.out, without.out);
  EXPECT_THAT(with.err, HasSubstr("of them from a cache"));
  EXPECT_THAT(without.err, Not(HasSubstr("of them from a cache")));
}

TEST(PromptCache, GoesOnWhereTheSteeringIsTheSameAndIsRefusedWhereItIsAnother) {
  const TemporaryFolder folder;
  save_vector(folder / "v.safetensors", 1);
  const std::string file = folder / "row.safetensors", prompt = a_long_prompt();
  const auto run = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--prompt-ids", prompt, "--max-tokens", "5", "--output", "json"});
    return generate("llama", more);
  };
  const auto steered = [&](const char* alpha, std::vector<std::string> more) {
    more.insert(more.begin(), {"--steer", folder / "v.safetensors", "--steer-layer", "0", "--alpha", alpha});
    return run(more);
  };
  const json fresh = row_of(steered("2", {}))["ids"], plain = row_of(run({}))["ids"];
  EXPECT_NE(fresh, plain);
  ASSERT_EQ(steered("2", {"--prompt-cache", file, "--prompt-cache-save"}).code, 0);
  const Outcome again = steered("2", {"--prompt-cache", file});
  EXPECT_EQ(row_of(again)["ids"], fresh);
  EXPECT_EQ(reused(again), 80u);
  const Outcome stronger = steered("3", {"--prompt-cache", file});
  EXPECT_EQ(stronger.code, 2);
  EXPECT_THAT(stronger.err,
              testing::ContainsRegex("row.safetensors: steering: its row was computed steered as "
                                     "[0-9a-f]+, prompt 0 runs steered as [0-9a-f]+"));
  const Outcome none = run({"--prompt-cache", file});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err,
              testing::ContainsRegex("computed steered as [0-9a-f]+, prompt 0 runs without steering"));
  // A row without steering serves one that steers what is generated, and not one that steers everything.
  ASSERT_EQ(run({"--prompt-cache", folder / "plain.safetensors", "--prompt-cache-save"}).code, 0);
  const Outcome late =
      steered("2", {"--steer-positions", "generated", "--prompt-cache", folder / "plain.safetensors"});
  EXPECT_EQ(row_of(late)["ids"], row_of(steered("2", {"--steer-positions", "generated"}))["ids"]);
  EXPECT_EQ(reused(late), 80u);
  EXPECT_THAT(steered("2", {"--prompt-cache", folder / "plain.safetensors"}).err,
              HasSubstr("its row was computed without steering, prompt 0 runs steered as"));
}

TEST(PromptFile, LinesBringTheirOwnOptionsOrAreRefusedByLine) {
  const TemporaryFolder folder;
  const std::string file = folder / "p.jsonl";
  std::ofstream(file)
      << R"({"prompt_ids": [5, 6], "max_new_tokens": 2})"
      << "\n"
      << R"({"prompt_ids": [5, 6], "do_sample": true, "seed": 4, "top_k": 0, "temperature": 9.0})"
      << "\n"
      << R"({"prompt_ids": [5, 6], "do_sample": true, "seed": 4, "top_k": 0, "temperature": 9.0})"
      << "\n"
      << R"({"prompt_ids": [5, 6], "num_beams": 2, "num_return_sequences": 2})"
      << "\n"
      << R"({"prompt_ids": [5, 6], "max_kv_size": 3, "num_sink_tokens": 1, "top_logprobs": 1})"
      << "\n";
  const Outcome run = generate("llama", {"--prompt-file", file, "--max-tokens", "5", "--output", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json rows = json::parse(run.out)["rows"];
  EXPECT_EQ(rows[0]["ids"].size(), 2u);
  EXPECT_EQ(rows[1]["seed"], 4);
  EXPECT_NE(rows[1]["ids"], rows[2]["ids"]) << "the same seed, but rows of their own";
  EXPECT_EQ(rows[3]["others"].size(), 1u);
  EXPECT_EQ(rows[4]["top_logprobs"][0].size(), 1u);
  const Outcome text = generate("llama", {"--prompt-file", file, "--max-tokens", "5"});
  EXPECT_EQ(text.code, 2);
  EXPECT_THAT(text.err, HasSubstr("p.jsonl: line 4: num_return_sequences: text output has place for one"));
  for (const char* option : {R"("prompt_logprobs": 1)", R"("output_transition_scores": true)"}) {
    std::ofstream(file) << R"({"prompt_ids": [5, 6], )" << option << "}\n";
    const std::string name = std::string(option).substr(1, std::string(option).find('"', 1) - 1);
    EXPECT_THAT(generate("llama", {"--prompt-file", file}).err,
                HasSubstr("p.jsonl: line 1: " + name + ": text output has no place for it"));
  }
  std::ofstream(file) << R"({"prompt_ids": [5, 6], "max_kv_size": 3, "num_sink_tokens": 3})"
                      << "\n";
  const Outcome wrong = generate("llama", {"--prompt-file", file});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("num_sink_tokens: expected fewer than max_kv_size (3), got 3"));
}

}  // namespace
}  // namespace genkit::test

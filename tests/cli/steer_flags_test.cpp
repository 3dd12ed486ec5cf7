// Steering on the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/array.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "genkit/io/safetensors.h"
#include "program.h"

namespace genkit::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SteeredGenerate : public testing::Test {
 protected:
  void SetUp() override {
    save("a.safetensors", 1);
    save("b.safetensors", 2);
  }
  void save(const std::string& name, unsigned seed, int hidden = 64) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(hidden));
    for (float& v : values) v = normal(engine);
    io::save_safetensors(folder_ / name,
                         {{"direction", mlx::core::array(values.data(), {hidden}, mlx::core::float32)}});
  }
  Outcome run(std::vector<std::string> more) {
    std::vector<std::string> args = {"mlxgk", "generate", "--model", golden_model("llama"), "--max-tokens",
                                     "8",     "--output", "json",    "--do-sample",         "false"};
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args);
  }
  std::vector<std::vector<int>> ids(std::vector<std::string> more) {
    const Outcome outcome = run(std::move(more));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::vector<std::vector<int>> out;
    const json result = json::parse(outcome.out);
    for (const json& row : result["rows"]) out.push_back(row["ids"]);
    return out;
  }
  std::vector<std::string> on(std::vector<std::string> more) {
    more.insert(more.begin(), {"--prompt-ids", "1,66,278,185"});
    return more;
  }
  std::string file(const char* name) { return folder_ / name; }
  TemporaryFolder folder_;
};

TEST_F(SteeredGenerate, EveryOptionChangesWhatItSays) {
  const auto base = ids(on({}));
  const std::vector<std::string> steer = {"--steer", file("a.safetensors"), "--steer-layer", "-2", "--alpha",
                                          "2"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = steer;
    args.insert(args.end(), more.begin(), more.end());
    return ids(on(args));
  };
  const auto plain = with({});
  EXPECT_NE(plain, base);
  EXPECT_EQ(ids(on({"--steer", file("a.safetensors"), "--steer-layer", "-2", "--alpha", "0"})), base);
  EXPECT_EQ(with({"--steer-mode", "add", "--steer-schedule", "constant", "--steer-positions", "all",
                  "--steer-unit", "absolute", "--steer-fallback", "fail"}),
            plain);
  EXPECT_NE(with({"--steer-mode", "add-keep-norm"}), base);
  EXPECT_NE(with({"--steer-mode", "project"}), base);
  EXPECT_NE(with({"--steer-mode", "ablate"}), base);
  EXPECT_NE(with({"--steer-mode", "logit-bias"}), base);
  EXPECT_NE(with({"--steer-unit", "residual"}), plain);
  EXPECT_EQ(with({"--steer-if", file("b.safetensors") + ":>1"}), base);
  EXPECT_EQ(with({"--steer-if", file("b.safetensors") + ":<1"}), plain);
  // The first token comes from the prompt, which neither of these touches.
  EXPECT_EQ(with({"--steer-positions", "generated"})[0][0], base[0][0]);
  EXPECT_EQ(with({"--steer-schedule", "warmup:4"})[0][0], base[0][0]);
  EXPECT_NE(with({"--steer-positions", "generated"}), base);
  EXPECT_NE(with({"--steer-positions", "last:1"}), base);
}

TEST_F(SteeredGenerate, SeveralTakeTheirOptionsInOrder) {
  const std::vector<std::string> both = {"--steer", file("a.safetensors"), "--steer", file("b.safetensors")};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = both;
    args.insert(args.end(), more.begin(), more.end());
    return ids(on(args));
  };
  EXPECT_EQ(with({"--steer-layer", "1", "--alpha", "2", "--alpha", "0"}),
            ids(on({"--steer", file("a.safetensors"), "--steer-layer", "1", "--alpha", "2"})));
  EXPECT_EQ(with({"--steer-layer", "1", "--steer-layer", "0", "--alpha", "0", "--alpha", "2"}),
            ids(on({"--steer", file("b.safetensors"), "--steer-layer", "0", "--alpha", "2"})));
}

TEST_F(SteeredGenerate, LinesOfABatchHaveTheirOwn) {
  const std::string a = file("a.safetensors");
  std::ofstream lines(folder_ / "prompts.jsonl");
  lines
      << R"({"prompt_ids": [1, 66, 278, 185]})"
      << "\n"
      << R"({"prompt_ids": [1, 66, 278, 185], "steer": []})"
      << "\n"
      << json{{"prompt_ids", {1, 66, 278, 185}}, {"steer", {{"file", a}, {"layer", 0}, {"alpha", -2}}}}.dump()
      << "\n";
  lines.close();
  for (const char* size : {"32", "1", "2"}) {
    const auto rows = ids({"--prompt-file", file("prompts.jsonl"), "--steer", a, "--steer-layer", "-2",
                           "--alpha", "2", "--batch-size", size});
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0], ids(on({"--steer", a, "--steer-layer", "-2", "--alpha", "2"}))[0]);
    EXPECT_EQ(rows[1], ids(on({}))[0]);
    EXPECT_EQ(rows[2], ids(on({"--steer", a, "--steer-layer", "0", "--alpha", "-2"}))[0]);
  }
}

TEST_F(SteeredGenerate, GuardsDrawAgainAndCountIt) {
  int64_t seed = 3;
  const auto run_json = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"mlxgk",
                                     "generate",
                                     "--model",
                                     golden_model("llama"),
                                     "--tokenizer",
                                     golden_tokenizer("bytebpe_llama3"),
                                     "--no-auto-chat",
                                     "--max-tokens",
                                     "8",
                                     "--output",
                                     "json",
                                     "--do-sample",
                                     "true",
                                     "--seed",
                                     std::to_string(seed),
                                     "--prompt",
                                     "one",
                                     "--prompt",
                                     "two"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome outcome = run_program(args);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? json::parse(outcome.out) : json();
  };
  const std::vector<std::string> steer = {"--steer", file("a.safetensors"), "--steer-layer", "0", "--alpha"};
  const auto steered = [&](const char* alpha, std::vector<std::string> more) {
    std::vector<std::string> args = steer;
    args.push_back(alpha);
    args.insert(args.end(), more.begin(), more.end());
    return run_json(args);
  };
  const json plain = steered("2", {});
  EXPECT_FALSE(plain.contains("guard"));
  // Everything is suspect: every row is drawn once more, with a seed of its own, and is what that seed gives.
  const json all = steered("2", {"--resample-suspect", "--suspect-pattern", "[^]"});
  EXPECT_EQ(all["guard"], (json{{"rows", 2},
                                {"identical", 0},
                                {"identical_resampled", 0},
                                {"identical_left", 0},
                                {"suspect", 2},
                                {"suspect_resampled", 2},
                                {"suspect_left", 2}}));
  for (const size_t i : {0, 1}) {
    const json& row = all["rows"][i];
    EXPECT_EQ(row["guard"], (json{{"resampled", true}, {"identical", false}, {"suspect", true}}));
    EXPECT_NE(row["seed"], plain["rows"][i]["seed"]);
    EXPECT_NE(row["ids"], plain["rows"][i]["ids"]);
    seed = row["seed"].get<int64_t>();
    EXPECT_EQ(steered("2", {})["rows"][i]["ids"], row["ids"]);
    seed = 3;
  }
  // Nothing is: what comes out is what comes out without a guard.
  const json none = steered("2", {"--resample-suspect", "--suspect-pattern", "no such thing"});
  EXPECT_EQ(none["rows"][1]["ids"], plain["rows"][1]["ids"]);
  EXPECT_EQ(none["guard"]["suspect"], 0);
  // Steering that does nothing: the base draws other numbers, so that equal answers are no accident; the
  // best token alone is left to draw, so that they are equal whatever is drawn.
  const json same = steered("0", {"--avoid-identical", "--top-k", "1"});
  EXPECT_EQ(same["guard"]["identical"], 2);
  EXPECT_EQ(same["guard"]["identical_resampled"], 2);
  EXPECT_EQ(same["guard"]["identical_left"], 2);
  EXPECT_EQ(same["rows"][0]["base"]["ids"], same["rows"][0]["ids"]);
  EXPECT_NE(same["rows"][0]["base"]["seed"], 3);
  const json other = steered("4", {"--avoid-identical", "--top-k", "1"});
  EXPECT_EQ(other["guard"]["identical"], 0);
  EXPECT_NE(other["rows"][0]["base"]["ids"], other["rows"][0]["ids"]);
  EXPECT_EQ(other["rows"][0]["base"]["ids"], same["rows"][0]["base"]["ids"]);
}

TEST_F(SteeredGenerate, GuardsAreRefusedByNameWhereTheyCanDoNothing) {
  const auto fails = [&](std::vector<std::string> more, const std::string& text) {
    more.insert(more.begin(),
                {"mlxgk", "generate", "--model", golden_model("llama"), "--prompt-ids", "1,66,278"});
    const Outcome outcome = run_program(more);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  const std::string a = file("a.safetensors");
  fails({"--steer", a, "--steer-layer", "0", "--avoid-identical"},
        "avoid_identical: has no effect in greedy decoding, which comes out the same again; it needs "
        "do_sample");
  fails({"--resample-suspect", "--num-beams", "2"}, "suspect_patterns: has no effect in beam");
  fails({"--suspect-pattern", "x"}, "--suspect-pattern needs --resample-suspect");
  fails({"--resample-suspect", "--suspect-pattern", "(x"}, "suspect_patterns: (x: no regular expression");
  fails({"--do-sample", "true", "--avoid-identical"}, "--avoid-identical: nothing is steered; pass --steer");
  fails({"--do-sample", "true", "--resample-suspect", "--num-return-sequences", "2", "--output", "json"},
        "suspect_patterns: looks at one answer a prompt; num_return_sequences is 2");
  fails({"--do-sample", "true", "--resample-suspect", "--prompt-cache", file("c"), "--prompt-cache-save"},
        "--prompt-cache-save: does not go with --avoid-identical and --resample-suspect");
}

TEST_F(SteeredGenerate, BenchSaysWhatSteeringCosts) {
  const std::vector<std::string> args = {"mlxgk",           "bench",
                                         "--model",         golden_model("llama"),
                                         "--prompt-tokens", "8",
                                         "--new-tokens",    "4",
                                         "--repeat",        "3",
                                         "--no-bandwidth",  "--json",
                                         "--steer",         file("a.safetensors"),
                                         "--steer-layer",   "0"};
  const Outcome run = run_program(args);
  ASSERT_EQ(run.code, 0) << run.err;
  const json cost = json::parse(run.out)["steering"];
  EXPECT_EQ(cost["pairs"], 3);
  for (const char* what : {"decoding", "prefill", "processor"}) {
    EXPECT_LE(cost[what]["from_percent"].get<double>(), cost[what]["median_percent"].get<double>());
    EXPECT_LE(cost[what]["median_percent"].get<double>(), cost[what]["to_percent"].get<double>());
  }
  std::vector<std::string> with_quality = args;
  with_quality.push_back("--quality");
  EXPECT_THAT(run_program(with_quality).err, HasSubstr("--quality: compares arithmetic, without steering"));
}

TEST_F(SteeredGenerate, SaysWhatIsWrong) {
  const std::string a = file("a.safetensors");
  const auto fails = [&](std::vector<std::string> more, int code, const std::string& text) {
    const Outcome outcome = run(on(std::move(more)));
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  fails({"--alpha", "2"}, 2, "--alpha: there is no --steer that it could be for");
  fails({"--steer", a, "--alpha", "1", "--alpha", "2"}, 2,
        "--alpha: expected once, or once for each of the 1 --steer, got 2");
  fails({"--steer", a, "--alpha", "x"}, 2, "--alpha: expected a number, got x");
  fails({"--steer", a, "--alpha", "nan", "--steer-layer", "0"}, 2,
        "--steer: schedule: alpha: expected a finite number, got nan");
  fails({"--steer", a}, 2, "does not say where its vector belongs; say which");
  fails({"--steer", a, "--steer-layer", "99"}, 2, "--steer: layer: the model has");
  fails({"--steer", a, "--steer-layer", "0", "--steer-mode", "push"}, 2,
        "--steer: mode: expected add, add-keep-norm, project, ablate or logit-bias, got push");
  fails({"--steer", a, "--steer-layer", "0", "--steer-schedule", "warmup:0"}, 2,
        "--steer: schedule: warmup: steps: expected at least 1, got 0");
  fails({"--steer", a, "--steer-layer", "0", "--steer-if", "b"}, 2,
        "--steer: condition: expected FILE:>COSINE or FILE:<COSINE, got b");
  save("wide.safetensors", 3, 65);
  fails({"--steer", file("wide.safetensors"), "--steer-layer", "0"}, 2, "65");
  fails({"--steer", folder_ / "none.safetensors"}, 1, "none.safetensors");
  std::ofstream(folder_ / "bad.jsonl") << R"({"prompt_ids": [1], "steer": {"file": "x", "lajer": 3}})"
                                       << "\n";
  const Outcome line = run({"--prompt-file", file("bad.jsonl")});
  EXPECT_NE(line.code, 0);
  EXPECT_THAT(line.err, HasSubstr("line 1"));
  EXPECT_THAT(line.err, HasSubstr("lajer"));
}

}  // namespace
}  // namespace genkit::test

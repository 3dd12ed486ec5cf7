// mlxgk steer: files made, scored, swept and combined, and what it says when something is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"

namespace genkit::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void expect_error(const Outcome& run, int code, const std::string& what) {
  EXPECT_EQ(run.code, code) << run.err;
  EXPECT_THAT(run.err, StartsWith("mlxgk: error: "));
  EXPECT_THAT(run.err, HasSubstr(what));
  EXPECT_EQ(run.out, "");
}

class Steer : public testing::Test {
 protected:
  void SetUp() override {
    write_file(folder_ / "pairs.jsonl",
               "{\"positive\": \"a bright and happy day\", \"negative\": \"a dark and gloomy day\"}\n"
               "{\"positive\": \"we won the game\", \"negative\": \"we lost the game\"}\n\n"
               "{\"positive\": \"she smiled at us\", \"negative\": \"she frowned at us\"}\n");
  }
  Outcome steer(const std::string& command, std::vector<std::string> more,
                const std::string& model = "llama") {
    std::vector<std::string> args = {"mlxgk",
                                     "steer",
                                     command,
                                     "--model",
                                     golden_model(model),
                                     "--tokenizer",
                                     golden_tokenizer("bytebpe_llama3")};
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args);
  }
  std::string extracted(const std::string& name = "v.safetensors") {
    const Outcome run = steer("extract", {"--pairs", folder_ / "pairs.jsonl", "--out", folder_ / name});
    EXPECT_EQ(run.code, 0) << run.err;
    return folder_ / name;
  }

  TemporaryFolder folder_;
};

TEST_F(Steer, ExtractionReportsEveryBlock) {
  Outcome run = steer("extract", {"--pairs", folder_ / "pairs.jsonl", "--out", folder_ / "v.safetensors",
                                  "--json", "--method", "pca_diff", "--normalise"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json report = json::parse(run.out);
  EXPECT_EQ(report.at("method"), "pca_diff");
  EXPECT_EQ(report.at("position"), "last");
  EXPECT_EQ(report.at("positives"), 3);
  ASSERT_GE(report.at("layers").size(), 2u);
  for (const json& layer : report.at("layers")) {
    EXPECT_NEAR(layer.at("vector_norm").get<double>(), 1, 1e-5);
    EXPECT_GE(layer.at("auc"), 0);
    EXPECT_LE(layer.at("explained_variance"), 1);
  }
  run = run_program({"mlxgk", "steer", "info", folder_ / "v.safetensors"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("model type   llama"), HasSubstr("method       pca_diff"),
                             HasSubstr("<- suggested")));
}

TEST_F(Steer, FilesOfTextsMakePairsWhereTheyMatch) {
  write_file(folder_ / "up.txt", "one bright day\ntwo good things\n");
  write_file(folder_ / "down.txt", "one dark day\ntwo bad things\nthree worse things\n");
  const std::vector<std::string> files = {
      "--positive-file", folder_ / "up.txt",        "--negative-file", folder_ / "down.txt",
      "--out",           folder_ / "v.safetensors", "--layers",        "1"};
  EXPECT_EQ(steer("extract", files).code, 0);
  std::vector<std::string> pca = files;
  pca.insert(pca.end(), {"--method", "pca_diff"});
  expect_error(steer("extract", pca), 2, "block 1: method: pca_diff needs pairs");
}

TEST_F(Steer, ATraitIsAnsweredAndMeasured) {
  write_file(
      folder_ / "trait.json",
      R"({"instruction": [{"pos": "Be kind.", "neg": "Be rude."}], "questions": ["Who are you?", "What is it?"]})");
  const Outcome run = steer("extract", {"--trait", folder_ / "trait.json", "--out", folder_ / "v.safetensors",
                                        "--answers", folder_ / "a.jsonl", "--max-new-tokens", "5",
                                        "--do-sample", "true", "--seed", "4", "--json", "--samples", "2"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out).at("position"), "mean");
  EXPECT_EQ(json::parse(run.out).at("positives"), 4);
  const std::string answers = read_file(folder_ / "a.jsonl");
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 4);
}

TEST_F(Steer, ExtractionErrors) {
  const std::string out = folder_ / "v.safetensors", pairs = folder_ / "pairs.jsonl";
  expect_error(steer("extract", {"--pairs", pairs}), 2, "--out is missing");
  expect_error(steer("extract", {"--out", out}), 2, "no texts: pass --pairs");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--trait", "x"}), 2, "exclude each other");
  expect_error(steer("extract", {"--out", out, "--positive-file", pairs}), 2, "--negative-file is missing");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--method", "pca"}), 2,
               "--method: expected mean_difference, pca_diff");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--position", "middle"}), 2,
               "--position: expected last, mean");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--position", "tokens:50"}), 2,
               "pairs.jsonl: line 1: positive: has ");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--layers", "0-99"}), 2,
               "--layers: block 99 of a model with");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--layers", "1,,2"}), 2,
               "--layers: expected all, or blocks like");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--top-k", "5"}), 2,
               "generation options are for --trait");
  expect_error(steer("extract", {"--out", out, "--pairs", pairs, "--samples", "2"}), 2,
               "--samples: only where the model answers");
  write_file(folder_ / "bad.jsonl", "{\"positive\": \"a\"}\n");
  expect_error(steer("extract", {"--out", out, "--pairs", folder_ / "bad.jsonl"}), 2,
               "bad.jsonl: line 1: negative: missing");
  write_file(folder_ / "bad.jsonl", "{\"positive\": \"a\", \"negative\": \"b\", \"pos\": 1}\n");
  expect_error(steer("extract", {"--out", out, "--pairs", folder_ / "bad.jsonl"}), 2,
               "bad.jsonl: line 1: pos");
  expect_error(steer("extract", {"--out", out, "--pairs", folder_ / "none.jsonl"}), 1, "none.jsonl");
  EXPECT_FALSE(std::filesystem::exists(out));
  expect_error(run_program({"mlxgk", "steer", "extrct"}), 2,
               "there is no command steer extrct; did you mean `extract`?");
}

TEST_F(Steer, ProjectionScoresTextsTokenByToken) {
  const std::string vector = extracted();
  Outcome run = steer("project", {"--vector", vector, "--layer", "1", "--text", "a bright day", "--text",
                                  "a dark day", "--output", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result.at("layer"), 1);
  ASSERT_EQ(result.at("texts").size(), 2u);
  for (const json& text : result.at("texts")) {
    double sum = 0;
    for (const json& token : text.at("tokens")) sum += token.at("projection").get<double>();
    EXPECT_NEAR(text.at("projection").get<double>(), sum / static_cast<double>(text.at("tokens").size()),
                1e-5);
  }
  run = steer("project", {"--vector", vector, "--text", "a bright day", "--per-token"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("projection   cosine\n"), HasSubstr("--text\n"), HasSubstr("    a\n")));
}

TEST_F(Steer, ProjectionScoresAConversationMessageByMessage) {
  const std::string vector = extracted();
  const Outcome run = steer(
      "project",
      {"--vector", vector, "--layer", "0", "--output", "json", "--messages-json",
       R"([{"role":"user","content":"Was it good?"},{"role":"assistant","content":"It was bright."}])"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json texts = json::parse(run.out).at("texts");
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_EQ(texts[1].at("name"), "message 2 (assistant)");
  std::string last;
  for (const json& token : texts[1].at("tokens")) last += token.at("token").get<std::string>();
  EXPECT_THAT(last, HasSubstr("bright"));
  EXPECT_THAT(last, Not(HasSubstr("good")));
}

TEST_F(Steer, AVectorForAnotherModelNeedsAWord) {
  const std::string vector = extracted();
  const std::vector<std::string> args = {"--vector", vector, "--layer", "1", "--text", "x y z"};
  expect_error(steer("project", args, "llama_draft"), 2,
               "v.safetensors: model_hash: made with another model");
  std::vector<std::string> anyway = args;
  anyway.push_back("--any-model");
  EXPECT_EQ(steer("project", anyway, "llama_draft").code, 0);
}

TEST_F(Steer, ProjectionErrors) {
  const std::string vector = extracted();
  expect_error(steer("project", {"--vector", vector}), 2, "nothing to score");
  expect_error(steer("project", {"--text", "x"}), 2, "--vector is missing");
  expect_error(steer("project", {"--vector", vector, "--text", ""}), 2, "--text: the text is empty");
  expect_error(steer("project", {"--vector", vector, "--text", "x", "--layer", "77"}), 2,
               "--layer: block 77 of a model");
  write_file(folder_ / "no.safetensors", "nothing");
  expect_error(steer("project", {"--vector", folder_ / "no.safetensors", "--text", "x"}), 1,
               "no.safetensors: header");
}

TEST_F(Steer, VectorsAddUpAndChangeFormat) {
  const std::string vector = extracted();
  Outcome run = run_program({"mlxgk", "steer", "combine", "--vector", vector, "--out", folder_ / "v.gguf"});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.err, HasSubstr("GGUF files have no place for block 0"));
  run = run_program({"mlxgk", "steer", "combine", "--vector", vector + "=2", "--vector",
                     (folder_ / "v.gguf") + "=-1", "--normalise", "--scale", "3", "--out",
                     folder_ / "sum.safetensors"});
  EXPECT_EQ(run.code, 0) << run.err;
  run = run_program({"mlxgk", "steer", "info", folder_ / "sum.safetensors"});
  EXPECT_THAT(run.out, HasSubstr("         3  "));
  expect_error(run_program({"mlxgk", "steer", "combine", "--vector", vector, "--orthogonal-to", vector,
                            "--out", folder_ / "x.safetensors"}),
               2, "direction.0: nothing of it is orthogonal");
  expect_error(run_program({"mlxgk", "steer", "combine", "--vector", vector + "=x", "--out", "y"}), 2,
               "--vector: expected numbers");
}

std::vector<std::string> sweep_arguments(const std::string& vector, const TemporaryFolder& folder) {
  return {
      "--vector",  vector,     "--layers",        "0,-1",          "--alphas",         "-2,0,2", "--prompt",
      "A day",     "--prompt", "We <b>went</b>",  "--no-template", "--max-new-tokens", "6",      "--system",
      "Be happy.", "--html",   folder / "s.html", "--json",        folder / "s.json"};
}

TEST_F(Steer, ASweepWritesItsPageAndItsFigures) {
  const Outcome run = steer("sweep", sweep_arguments(extracted(), folder_));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("no steering"), HasSubstr("trait as system prompt"), HasSubstr("alpha -2")));
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  const json result = json::parse(read_file(folder_ / "s.json"));
  EXPECT_EQ(result.at("cells").size(), 6u);
  EXPECT_EQ(result.at("system_prompt"), "Be happy.");
  for (const json& cell : result.at("cells")) {
    if (cell.at("alpha") == 0.0) {
      EXPECT_EQ(cell.at("kl"), 0.0);
      EXPECT_EQ(cell.at("changed"), 0.0);
    }
  }
  EXPECT_THAT(read_file(folder_ / "s.html"),
              AllOf(HasSubstr("We &lt;b&gt;went&lt;/b&gt;"), Not(HasSubstr("<b>went"))));
}

TEST_F(Steer, SweepErrors) {
  const std::string vector = extracted();
  expect_error(steer("sweep", {"--vector", vector}), 2, "nothing to steer");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--alphas", "2,1"}), 2,
               "alphas: expected rising numbers, got 1 after 2");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--alphas", "one"}), 2,
               "--alphas: expected numbers");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--steer-unit", "miles"}), 2,
               "--steer-unit");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--words-positive", "good"}), 2,
               "need each other");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--suspect-pattern", "a"}), 2,
               "--suspect-pattern needs --resample-suspect");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--avoid-identical", "--layers", "0",
                               "--max-new-tokens", "2"}),
               2, "avoid_identical: has no effect in greedy decoding");
  expect_error(steer("sweep", {"--vector", vector, "--prompt", "x", "--num-return-sequences", "2",
                               "--do-sample", "true"}),
               2, "--num-return-sequences: a sweep looks at one answer");
}

/// The browser, where there is one.
std::string chromium() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    if (std::system((std::string("command -v ") + name + " >/dev/null 2>&1").c_str()) == 0) return name;
  }
  return {};
}

TEST_F(Steer, ABrowserShowsThePageWithoutANetwork) {
  const std::string browser = chromium();
  if (browser.empty()) GTEST_SKIP() << "there is no Chromium";
  ASSERT_EQ(steer("sweep", sweep_arguments(extracted(), folder_)).code, 0);
  // What the browser made of the page: that nothing sticks out of it, and that every chart shows its curves.
  std::string page = read_file(folder_ / "s.html");
  page.insert(page.find("</body>"),
              "<script>document.title=[innerWidth,document.documentElement.scrollWidth<=innerWidth,document."
              "querySelectorAll('svg.chart').length,document.querySelectorAll('.text').length>0,document."
              "querySelector('polyline').getBoundingClientRect().width>50].join()</script>");
  write_file(folder_ / "probe.html", page);
  for (const char* width : {"500", "1280"}) {  // the narrowest that it has, as of a phone, and a desk's
    const std::string command =
        browser +
        " --headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --user-data-dir=" +
        (folder_ / "profile") + width + " --window-size=" + width +
        ",900 --host-resolver-rules='MAP * ~NOTFOUND' --dump-dom file://" + (folder_ / "probe.html") + " >" +
        (folder_ / "dom.html") + " 2>/dev/null";
    ASSERT_EQ(std::system(("timeout 120 " + command).c_str()), 0);
    EXPECT_THAT(read_file(folder_ / "dom.html"),
                HasSubstr(std::string("<title>") + width + ",true,5,true,true</title>"));
  }
}

}  // namespace
}  // namespace genkit::test

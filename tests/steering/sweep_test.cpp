// Guardrails, answers under a trait, and sweeps, on a small random model.
#include "genkit/steering/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/steering/persona.h"
#include "genkit/steering/svg_chart.h"

namespace genkit::steering {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

fs::path goldens() { return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens"; }

class Sweeps : public testing::Test {
 protected:
  void SetUp() override {
    io::Checkpoint checkpoint = io::Checkpoint::open(goldens() / "models" / "llama");
    model_ = models::load_model(checkpoint);
    tokenizer_ = text::Tokenizer::load(goldens() / "tokenizers" / "bytebpe_llama3");
    vectors_.name = "random.safetensors";
    vectors_.num_blocks = model_->components().num_blocks;
    for (int block = 0; block < vectors_.num_blocks; ++block) {
      auto& v = vectors_.directions[block];
      for (int i = 0; i < model_->components().hidden_size; ++i)
        v.push_back(std::cos(static_cast<float>(i * (block + 2))));
    }
    for (int i = 0; i < 4; ++i)
      prompts_.push_back({.text = "prompt <" + std::to_string(i) + ">", .ids = {1, 20 + i, 30, 40 + 2 * i}});
    options_.layers = {0, 2};
    options_.alphas = {-1.5, 0, 1.5};
    options_.config.max_new_tokens = 6;
    options_.config.do_sample = false;
    options_.config.eos_token_id.emplace();
  }
  generate::GenerationRequest sampled(uint64_t seed) const {
    generate::GenerationRequest request;
    for (const SweepPrompt& prompt : prompts_) request.prompts.push_back({.ids = prompt.ids});
    request.config.max_new_tokens = 4;
    request.config.do_sample = true;
    request.config.seed = seed;
    request.config.eos_token_id.emplace();
    return request;
  }

  std::unique_ptr<models::Model> model_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  VectorSet vectors_;
  std::vector<SweepPrompt> prompts_;
  SweepOptions options_;
};

std::vector<const generate::GeneratedRow*> all_of(const std::vector<generate::GeneratedRow>& rows) {
  std::vector<const generate::GeneratedRow*> out;
  for (const generate::GeneratedRow& row : rows) out.push_back(&row);
  return out;
}

TEST(VariantSeeds, AreAllDifferentAndNeverTheBases) {
  std::set<uint64_t> seen;
  for (const uint64_t base : {uint64_t{0}, uint64_t{1}, uint64_t{17}, ~uint64_t{0}}) {
    for (uint64_t variant = 0; variant < 500; ++variant) {
      EXPECT_NE(variant_seed(base, variant), base);
      EXPECT_TRUE(seen.insert(variant_seed(base, variant)).second) << base << " " << variant;
    }
  }
  EXPECT_EQ(variant_seed(17, 3), variant_seed(17, 3));
}

TEST_F(Sweeps, AnIdenticalVariantIsDrawnOnceMore) {
  const auto request = sampled(5);
  const auto base = generate::generate(*model_, tokenizer_.get(), request).rows;
  // The same request again is the base itself, row by row.
  const Guard guard(GuardOptions{.avoid_identical = true, .suspect_patterns = {}});
  const GuardedRows rows = guard.run(*model_, tokenizer_.get(), request, all_of(base));
  EXPECT_EQ(rows.counters.rows, 4u);
  EXPECT_EQ(rows.counters.identical, 4u);
  EXPECT_EQ(rows.counters.identical_resampled, 4u);
  EXPECT_EQ(rows.counters.identical_left, 0u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NE(rows.rows[i].ids, base[i].ids);
  // Deterministic, and without the guard nothing is drawn again.
  EXPECT_EQ(guard.run(*model_, tokenizer_.get(), request, all_of(base)).rows[2].ids, rows.rows[2].ids);
  const GuardedRows plain = Guard().run(*model_, tokenizer_.get(), request, all_of(base));
  EXPECT_EQ(plain.counters.identical, 4u);
  EXPECT_EQ(plain.counters.identical_resampled, 0u);
  EXPECT_EQ(plain.counters.identical_left, 4u);
  // Another seed than the base's: nothing is identical, and nothing is touched.
  const GuardedRows other = guard.run(*model_, tokenizer_.get(), sampled(variant_seed(5, 1)), all_of(base));
  EXPECT_EQ(other.counters.identical, 0u);
}

TEST_F(Sweeps, ASuspectTextIsDrawnOnceMore) {
  const auto request = sampled(5);
  const Guard all(GuardOptions{.avoid_identical = false, .suspect_patterns = {"[^]"}});
  const GuardedRows rows = all.run(*model_, tokenizer_.get(), request);
  EXPECT_EQ(rows.counters.suspect, 4u);
  EXPECT_EQ(rows.counters.suspect_resampled, 4u);
  EXPECT_EQ(rows.counters.suspect_left, 4u);  // once, not until it fits
  const auto plain = generate::generate(*model_, tokenizer_.get(), request).rows;
  EXPECT_NE(rows.rows[0].ids, plain[0].ids);
}

// A row that is drawn again is steered as it was, whoever else is drawn again.
TEST_F(Sweeps, ARowThatIsDrawnAgainKeepsItsHooksAndCallbacks) {
  auto request = sampled(5);
  for (auto& prompt : request.prompts) prompt.ids = prompts_[0].ids;
  ResidualInjectionHook hook(0, vectors_.vector(0), 3.0, {.rows = std::set<int64_t>{2}});
  request.hooks = {&hook};
  request.prefix_allowed_tokens_fn = [](size_t row, std::span<const int32_t>) {
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < 40; ++id) allowed.push_back(static_cast<int32_t>(row) * 100 + id);
    return allowed;
  };
  const auto first = generate::generate(*model_, tokenizer_.get(), request).rows;
  // Rows 2 and 3 equal what they are held against, so that row 2 is the first of those drawn again.
  const std::vector<const generate::GeneratedRow*> base = {nullptr, nullptr, &first[2], &first[3]};
  const Guard guard(GuardOptions{.avoid_identical = true, .suspect_patterns = {}});
  const GuardedRows rows = guard.run(*model_, tokenizer_.get(), request, base);
  EXPECT_EQ(rows.counters.identical_resampled, 2u);
  for (const size_t i : {size_t{0}, size_t{1}}) EXPECT_EQ(rows.rows[i].ids, first[i].ids);
  for (const size_t i : {size_t{2}, size_t{3}}) {
    EXPECT_TRUE(rows.verdicts[i].resampled);
    // The seed that it was drawn with gives the same row again, where its hook knows it by its number.
    auto alone = request;
    alone.config.seed = rows.rows[i].seed;
    EXPECT_EQ(generate::generate(*model_, tokenizer_.get(), alone).rows[i].ids, rows.rows[i].ids) << i;
    alone.hooks.clear();
    EXPECT_EQ(generate::generate(*model_, tokenizer_.get(), alone).rows[i].ids == rows.rows[i].ids, i == 3);
  }
}

TEST_F(Sweeps, GuardsNeedSampling) {
  auto request = sampled(5);
  request.config.do_sample = false;
  const Guard guard(GuardOptions{.avoid_identical = true, .suspect_patterns = {}});
  EXPECT_THAT([&] { guard.run(*model_, tokenizer_.get(), request); },
              ThrowsMessage<ArgumentError>(HasSubstr(
                  "avoid_identical: has no effect in greedy decoding, which comes out the same again; it "
                  "needs do_sample")));
  EXPECT_THAT([&] { guard.run(*model_, tokenizer_.get(), sampled(1)); },
              ThrowsMessage<ArgumentError>(HasSubstr("avoid_identical: there is no base")));
  // One prompt's own mode counts too.
  request = sampled(5);
  request.prompts[2].config.emplace();
  request.prompts[2].config->num_beams = 2;
  request.prompts[2].config->do_sample = false;
  EXPECT_THAT([&] { guard.check(request); }, ThrowsMessage<ArgumentError>(HasSubstr("in beam")));
  request = sampled(5);
  request.config.num_return_sequences = 2;
  EXPECT_THAT([&] { guard.check(request); },
              ThrowsMessage<ArgumentError>(HasSubstr("avoid_identical: looks at one answer a prompt; "
                                                     "num_return_sequences is 2")));
  EXPECT_THAT([] { Guard(GuardOptions{.avoid_identical = false, .suspect_patterns = {"(a"}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("suspect_patterns: (a: no regular expression")));
}

TEST(SuspectPatterns, AreDigitsAndLatex) {
  const Guard guard(GuardOptions{.avoid_identical = false, .suspect_patterns = default_suspect_patterns()});
  for (const char* text : {"in 1984 it", "so \\frac{a}{b}", "that $x$ is", "a\nb \\[ c"})
    EXPECT_TRUE(guard.is_suspect(text)) << text;
  for (const char* text : {"", "plain prose, with marks!", "costs five $ a day", "a \\ b"})
    EXPECT_FALSE(guard.is_suspect(text)) << text;
  EXPECT_FALSE(guard.is_suspect(std::string(3 << 20, 'x')));
}

TEST_F(Sweeps, ScoresAreThoseOfTheirParts) {
  const SweepResult result = run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_);
  ASSERT_EQ(result.cells.size(), 6u);
  EXPECT_EQ(result.base.kl, 0);
  EXPECT_EQ(result.base.changed, 0);
  EXPECT_FALSE(result.system);
  for (const SweepCell& cell : result.cells) {
    EXPECT_EQ(cell.scores.texts.size(), prompts_.size());
    EXPECT_EQ(cell.scores.mean_tokens, 6);
    if (cell.alpha == 0) {  // zero is exactly zero
      EXPECT_EQ(cell.scores.kl, 0);
      EXPECT_EQ(cell.scores.changed, 0);
      EXPECT_EQ(cell.scores.texts, result.base.texts);
      EXPECT_EQ(cell.scores.perplexity, result.base.perplexity);
      EXPECT_EQ(cell.scores.projection.at(cell.layer), result.base.projection.at(cell.layer));
    } else {
      EXPECT_GT(cell.scores.kl, 0);
    }
  }
  // One cell, part by part.
  const SweepCell& cell = result.cells.back();
  EXPECT_EQ(cell.layer, 2);
  EXPECT_EQ(cell.alpha, 1.5);
  ResidualInjectionHook hook(2, vectors_.vector(2), 1.5);
  generate::GenerationRequest request;
  request.config = options_.config;
  request.hooks = {&hook};
  for (const SweepPrompt& prompt : prompts_) request.prompts.push_back({.ids = prompt.ids});
  const auto rows = generate::generate(*model_, tokenizer_.get(), request).rows;
  std::vector<TokenSequence> read;
  std::vector<std::vector<int32_t>> ids;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].text, cell.scores.texts[i]);
    ids.push_back(rows[i].ids);
    read.push_back({.ids = prompts_[i].ids, .begin = 4, .where = ""});
    read.back().ids.insert(read.back().ids.end(), rows[i].ids.begin(), rows[i].ids.end());
  }
  double projection = 0;
  for (const Projection& p : project(*model_, read, 2, vectors_.at(2))) projection += p.mean / 4;
  EXPECT_NEAR(cell.scores.projection.at(2), projection, 1e-5);
  EXPECT_NEAR(cell.scores.perplexity, perplexity(surprise(*model_, read)), 1e-3);
  EXPECT_EQ(cell.scores.distinct_2, distinct_n(ids, 2));
}

TEST_F(Sweeps, TheSystemPromptIsASecondBaseline) {
  for (SweepPrompt& prompt : prompts_) {
    prompt.with_system = {1, 99, 98};
    prompt.with_system.insert(prompt.with_system.end(), prompt.ids.begin() + 1, prompt.ids.end());
  }
  const SweepResult result = run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_);
  ASSERT_TRUE(result.system);
  EXPECT_GT(result.system->kl, 0);
  EXPECT_EQ(result.system->projection.size(), 2u);
  prompts_[1].with_system.clear();
  EXPECT_THAT(
      [&] { run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_); },
      ThrowsMessage<ArgumentError>(HasSubstr("prompts: some have a system prompt and some have none")));
}

TEST_F(Sweeps, SampledCellsDrawWithSeedsOfTheirOwn) {
  options_.config.do_sample = true;
  options_.config.seed = 3;
  options_.config.max_new_tokens = 8;
  options_.guard.avoid_identical = true;
  const SweepResult result = run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_);
  for (const SweepCell& cell : result.cells) {
    EXPECT_GT(cell.scores.changed, 0.9) << "alpha " << cell.alpha;  // at alpha 0 too: other draws
    EXPECT_EQ(cell.scores.guard.rows, 4u);
  }
}

TEST_F(Sweeps, WhatCannotBeSweptIsNamed) {
  const auto fails = [&](const std::function<void(SweepOptions&)>& change, const std::string& what) {
    SweepOptions options = options_;
    change(options);
    EXPECT_THAT([&] { run_sweep(*model_, *tokenizer_, vectors_, prompts_, options); },
                ThrowsMessage<ArgumentError>(HasSubstr(what)));
  };
  fails([](auto& o) { o.alphas = {1, 0}; }, "alphas: expected rising numbers, got 0 after 1");
  fails([](auto& o) { o.alphas = {}; }, "alphas: there are none");
  fails([](auto& o) { o.layers = {99}; }, "layers: block 99 of a model with");
  fails([](auto& o) { o.layers = {}; }, "layers: there are none");
  vectors_.directions.erase(2);
  fails([](auto&) {}, "random.safetensors: no direction for block 2");
  options_.layers = {0};
  options_.progress = [](size_t, size_t, const std::string&) { return false; };
  EXPECT_THAT([&] { run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_); },
              ThrowsMessage<Error>("interrupted"));
}

TEST_F(Sweeps, ThePageStandsOnItsOwn) {
  vectors_.name = "<script>alert(1)</script>";
  const SweepResult result = run_sweep(*model_, *tokenizer_, vectors_, prompts_, options_);
  const std::string page = sweep_page(result);
  EXPECT_THAT(page, AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("prefers-color-scheme:dark"),
                          HasSubstr("width=device-width"), HasSubstr("prompt &lt;0&gt;"),
                          HasSubstr("Perplexity"), HasSubstr("</html>")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<script")), Not(HasSubstr("src=")), Not(HasSubstr("href=")),
                          Not(HasSubstr("url(")), Not(HasSubstr("@import"))));
  // Five charts without word lists, each with one line a block and one level a baseline.
  size_t charts = 0;
  for (size_t at = 0; (at = page.find("<svg class=\"chart\"", at)) != std::string::npos; ++at) ++charts;
  EXPECT_EQ(charts, 5u);
  const auto json = to_json(result);
  EXPECT_EQ(json.at("cells").size(), 6u);
  EXPECT_EQ(json.at("cells")[0].at("texts").size(), 4u);
  EXPECT_EQ(json.at("base").at("guard").at("rows"), 4);
}

TEST_F(Sweeps, AnswersUnderATraitArePaired) {
  const Trait trait{.instructions = {{"Be kind.", "Be rude."}, {"Be warm.", "Be cold."}},
                    .questions = {"Who?", "Why so?"}};
  AnswerOptions options;
  options.config = options_.config;
  options.use_template = false;
  options.batch = 3;
  const TraitAnswers answers = answer_trait(*model_, *tokenizer_, trait, options);
  ASSERT_EQ(answers.texts.positive.size(), 4u);
  EXPECT_TRUE(answers.texts.paired);
  EXPECT_EQ(answers.dropped, 0u);
  for (const auto* side : {&answers.texts.positive, &answers.texts.negative}) {
    for (const TokenSequence& s : *side) EXPECT_EQ(s.ids.size(), static_cast<size_t>(s.begin) + 6);
  }
  const auto prompt = persona_prompt(*tokenizer_, "Be warm.", "Who?", false);
  EXPECT_EQ(prompt, tokenizer_->encode("Be warm.\n\nWho?"));
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), answers.texts.positive[2].ids.begin()));
  options.samples = 2;
  EXPECT_THAT([&] { answer_trait(*model_, *tokenizer_, trait, options); },
              ThrowsMessage<ArgumentError>(HasSubstr("samples: needs do_sample")));
  EXPECT_THAT([&] { answer_trait(*model_, *tokenizer_, {}, options); },
              ThrowsMessage<ArgumentError>("trait: there are no instructions"));
}

TEST(TraitFiles, BrokenOnesNameTheField) {
  const fs::path path = fs::temp_directory_path() / "broken_trait.json";
  const auto fails = [&](const std::string& text, const std::string& what) {
    std::ofstream(path) << text;
    EXPECT_THAT([&] { read_trait(path); },
                ThrowsMessage<FormatError>(HasSubstr("broken_trait.json: " + what)));
  };
  fails("[]", "expected an object");
  fails(R"({"questions": ["a"]})", "instruction: missing");
  fails(R"({"instruction": [{"pos": "a"}], "questions": ["a"]})", "instruction[0].neg: missing");
  fails(R"({"instruction": [], "questions": ["a"]})", "instruction: is empty");
  fails(R"({"instruction": [{"pos": "a", "neg": "b"}], "questions": [1]})",
        "questions[0]: expected a string");
  std::ofstream(path)
      << R"({"instruction": [{"pos": "a", "neg": "b"}], "questions": ["c"], "eval_prompt": "x"})";
  EXPECT_THAT(read_trait(path).questions, ElementsAre("c"));
  fs::remove(path);
}

TEST(Charts, TicksAreRoundAndCover) {
  EXPECT_THAT(axis_ticks(-2, 2, 4, false), ElementsAre(-2, -1, 0, 1, 2));
  EXPECT_THAT(axis_ticks(0.5, 200, 4, true), ElementsAre(1, 10, 100));
  for (const auto& [low, high] : {std::pair{0.0, 1e-9}, {-1e30, 1e30}, {3.0, 3.0001}}) {
    const auto ticks = axis_ticks(low, high, 5, false);
    EXPECT_GE(ticks.size(), 2u);
    EXPECT_LE(ticks.size(), 8u);
  }
  EXPECT_TRUE(axis_ticks(1, 1, 5, false).empty());
}

TEST(Charts, ValuesThatAreNoneBreakTheLine) {
  Chart chart{.title = "t", .x_label = "x"};
  chart.lines.push_back({.name = "a", .stroke = "red", .points = {{0, 1}, {1, NAN}, {2, 3}, {3, 4}}});
  const std::string text = svg(chart);
  size_t runs = 0;
  for (size_t at = 0; (at = text.find("<polyline", at)) != std::string::npos; ++at) ++runs;
  EXPECT_EQ(runs, 2u);
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  chart.lines.clear();
  EXPECT_THAT(svg(chart), AllOf(HasSubstr("</svg>"), Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
}

}  // namespace
}  // namespace genkit::steering

// generate() against what transformers recorded, in the modes that the library has.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "genkit/eval/golden_generate.h"
#include "genkit/eval/golden_set.h"

namespace genkit::eval {
namespace {

namespace fs = std::filesystem;

struct Goldens : testing::Test {
  GoldensOptions options{.dir = fs::path(MLXGK_TEST_DATA).parent_path() / "goldens",
                         .only = {},
                         .weights = fs::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf"};
  GoldenSet set{options};
  std::ostringstream out;
  GoldenReport report{out};

  GoldenFile file(const std::string& name) { return GoldenFile(options.dir / (name + ".json")); }
};

TEST_F(Goldens, GreedyGeneration) {
  const GoldenFile recorded = file("generate");
  for (const JsonView& c : recorded.cases()) {
    if (c.at("mode").string() != "greedy") continue;
    report.run(c.at("name").string(),
               [&] { check_generation(*set.model(c.at("model").string()), nullptr, recorded, c); });
  }
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 200u);
}

TEST_F(Goldens, BeamSearch) {
  const GoldenFile recorded = file("generate");
  for (const JsonView& c : recorded.cases()) {
    if (c.at("mode").string() != "beam") continue;
    report.run(c.at("name").string(),
               [&] { check_generation(*set.model(c.at("model").string()), nullptr, recorded, c); });
  }
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 170u);
}

TEST_F(Goldens, AssistedGeneration) {
  const GoldenFile recorded = file("generate");
  for (const JsonView& c : recorded.cases()) {
    if (c.at("mode").string() != "assisted") continue;
    report.run(c.at("name").string(), [&] {
      std::shared_ptr<const models::Model> draft;
      if (const auto named = c.find("assistant")) draft = set.model(named->at("model").string());
      check_generation(*set.model(c.at("model").string()), nullptr, recorded, c, draft.get());
    });
  }
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 20u);
}

TEST_F(Goldens, SpeculativeSampling) {
  run_speculative(file("speculative"), set, report);
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 12u);
}

TEST_F(Goldens, BeamSampling) {
  run_generate(file("beam_sample"), set, report);
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 16u);
}

TEST_F(Goldens, ModesOfTransformers4) {
  run_generate(file("legacy_generate"), set, report);
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 85u);
}

TEST_F(Goldens, SamplingDistributions) {
  run_sampling(file("sampling"), set, report);
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 64u);
}

TEST_F(Goldens, RunsWithStopStrings) {
  const GoldenFile recorded = file("stop_strings");
  for (const JsonView& c : recorded.cases()) {
    if (!c.has("mode")) continue;
    report.run(c.at("name").string(), [&] {
      check_generation(*set.model(c.at("model").string()), set.tokenizer(c.at("tokenizer").string()).get(),
                       recorded, c);
    });
  }
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 40u);
}

/// Twelve prompts, 48 tokens each, on real weights in exact arithmetic. Minutes without kernels, and
/// the weights are a download: only where they are.
TEST_F(Goldens, Gemma3) {
  if (!fs::exists(options.weights)) GTEST_SKIP() << options.weights << " is not there: make weights";
  const GoldenFile recorded(options.dir.parent_path() / "goldens_gemma3_270m" / "gemma3_270m.json");
  run_real_model(recorded, set, report);
  EXPECT_EQ(report.summary().failed, 0u) << out.str();
  EXPECT_GE(report.summary().passed, 40u);
}

}  // namespace
}  // namespace genkit::eval

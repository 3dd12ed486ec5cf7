// Contrastive search and DoLa, on models of the goldens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "genkit/base/error.h"
#include "genkit/generate/dola.h"
#include "genkit/generate/session.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Ids = std::vector<int32_t>;
using config::DolaLayers;

fs::path goldens() { return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens"; }

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no exception)";
}

struct Contrast : testing::Test {
  io::Checkpoint checkpoint = io::Checkpoint::open(goldens() / "models" / "gpt2");
  std::unique_ptr<models::Model> model = models::load_model(checkpoint);
  std::shared_ptr<const text::Tokenizer> tokenizer =
      text::Tokenizer::load(goldens() / "tokenizers" / "bytebpe_chatml");

  GenerationResult run(const std::vector<Ids>& prompts, const json& config, bool text = false) {
    GenerationRequest request;
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
    request.config = GenerationConfig::from_caller(config, "");
    request.on_token = [this](const StreamEvent& event) {
      events.push_back(event);
      return true;
    };
    events.clear();
    return generate(*model, text ? tokenizer.get() : nullptr, request);
  }
  std::vector<StreamEvent> events;
  const Ids prompt = {5, 17, 130, 42, 99};
};

TEST_F(Contrast, ATinyPenaltyIsGreedyDecoding) {
  const Ids greedy = run({prompt}, {{"max_new_tokens", 12}}).rows[0].ids;
  EXPECT_EQ(run({prompt}, {{"max_new_tokens", 12}, {"penalty_alpha", 1e-12}, {"top_k", 4}}).rows[0].ids,
            greedy);
  EXPECT_NE(run({prompt}, {{"max_new_tokens", 12}, {"penalty_alpha", 0.9}, {"top_k", 4}}).rows[0].ids,
            greedy);
}

TEST_F(Contrast, WhatAProcessorRemovesIsNoCandidate) {
  // One token is left, although eight are asked for.
  json all = json::array();
  for (int id = 0; id < model->config().vocab_size; ++id) {
    if (id != 77) all.push_back(id);
  }
  const json config = {{"max_new_tokens", 3}, {"penalty_alpha", 0.9}, {"top_k", 8}, {"suppress_tokens", all}};
  EXPECT_EQ(run({prompt}, config).rows[0].ids, (Ids{77, 77, 77}));
  all.push_back(77);
  EXPECT_EQ(error_of([&] {
              run({prompt}, {{"penalty_alpha", 0.9}, {"top_k", 8}, {"suppress_tokens", all}});
            }),
            "row 0, new token 0: logits: every token is removed, so that none can be chosen");
}

TEST_F(Contrast, TokensStreamAsTheyAreChosenAndStopStringsEndTheRow) {
  for (const json& mode : {json{{"penalty_alpha", 0.6}, {"top_k", 4}}, json{{"dola_layers", "high"}},
                           json{{"dola_layers", {0, 1}}, {"do_sample", true}, {"seed", 4}},
                           json{{"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 0.5}},
                           json{{"num_beams", 3}, {"force_words_ids", {{40, 41}}}}}) {
    json config = mode;
    config["max_new_tokens"] = 14;
    // A row whose text has a character that one byte stands for: it is where the row is to stop.
    GeneratedRow whole;
    Ids ids = prompt;
    std::string stop;
    for (ids[0] = 3; stop.empty() && ids[0] < 200; ++ids[0]) {
      whole = run({ids}, config, true).rows[0];
      std::string text;
      for (const StreamEvent& event : events) text += event.text;
      EXPECT_EQ(text, whole.text) << mode;
      EXPECT_TRUE(events.back().finished);
      if (!mode.contains("num_beams")) EXPECT_EQ(events.size(), whole.ids.size());
      for (size_t i = whole.text.size() / 3; stop.empty() && i < whole.text.size(); ++i) {
        if (whole.text[i] > ' ' && whole.text[i] <= '~') stop = whole.text.substr(i, 1);
      }
    }
    ASSERT_FALSE(stop.empty()) << "no row with a plain character: " << mode;
    --ids[0];
    config["stop_strings"] = {stop};
    const GeneratedRow stopped = run({ids}, config, true).rows[0];
    // Forced words come whatever they spell.
    if (!mode.contains("force_words_ids")) EXPECT_EQ(stopped.text.find(stop), std::string::npos) << mode;
    if (mode.contains("num_beams")) continue;
    EXPECT_EQ(stopped.finish_reason, FinishReason::kStopString) << mode;
    EXPECT_EQ(stopped.stop_string, stop);
    EXPECT_EQ(whole.text.substr(0, stopped.text.size()), stopped.text);
  }
}

TEST_F(Contrast, ACancelledRowKeepsItsTokensAndGivesTheCacheBack) {
  for (const json& mode :
       {json{{"penalty_alpha", 0.6}, {"top_k", 4}},
        json{{"penalty_alpha", 0.6}, {"top_k", 4}, {"guidance_scale", 1.4}}, json{{"dola_layers", "high"}}}) {
    for (int steps = 1; steps < 6; ++steps) {
      GenerationSession session(*model, nullptr, {});
      const size_t row = session.add({.ids = prompt}, GenerationConfig::from_caller(mode, ""));
      std::vector<int32_t> streamed;
      for (int i = 0; i < steps; ++i) {
        session.step();
        for (const StreamEvent& event : session.events()) streamed.push_back(event.token);
      }
      session.cancel(row);
      const GeneratedRow result = session.take(row);
      EXPECT_EQ(result.ids, streamed);
      EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
      EXPECT_EQ(session.cache().bytes(), 0u);
    }
  }
}

TEST_F(Contrast, RecordedScoresAreThoseThatChoose) {
  const json config = {{"dola_layers", "high"}, {"max_new_tokens", 6}, {"output_scores", true},
                       {"output_logits", true}, {"top_logprobs", 2},   {"repetition_penalty", 1.2}};
  const GeneratedRow row = run({prompt}, config).rows[0];
  ASSERT_EQ(row.scores.size(), row.ids.size());
  ASSERT_EQ(row.top_logprobs.size(), row.ids.size());
  for (size_t i = 0; i < row.ids.size(); ++i) {
    const auto best = std::max_element(row.scores[i].begin(), row.scores[i].end());
    EXPECT_EQ(best - row.scores[i].begin(), row.ids[i]);
  }
}

TEST(DolaLayers, AreThoseOfTransformers) {
  const auto low = [](int blocks, bool tied) {
    return dola_candidates({.kind = DolaLayers::Kind::kLow, .layers = {}}, blocks, tied);
  };
  const auto high = [](int blocks) {
    return dola_candidates({.kind = DolaLayers::Kind::kHigh, .layers = {}}, blocks, false);
  };
  EXPECT_EQ(low(18, true), (std::vector<int>{2, 4, 6, 8}));
  EXPECT_EQ(low(18, false), (std::vector<int>{0, 2, 4, 6, 8}));
  EXPECT_EQ(low(4, true), (std::vector<int>{2}));
  EXPECT_EQ(low(2, true), (std::vector<int>{1}));
  EXPECT_EQ(low(1, true), (std::vector<int>{0}));
  EXPECT_EQ(low(48, true), (std::vector<int>{2, 4, 6, 8, 10, 12, 14, 16, 18}));
  EXPECT_EQ(high(18), (std::vector<int>{9, 11, 13, 15, 17}));
  EXPECT_EQ(high(42), (std::vector<int>{22, 24, 26, 28, 30, 32, 34, 36, 38, 40}));
  EXPECT_EQ(error_of([&] { low(3, true); }), "dola_layers: \"low\" names none of the model's 3 layers");
  EXPECT_EQ(error_of([&] {
              dola_candidates({.kind = DolaLayers::Kind::kList, .layers = {0, 4}}, 4, true);
            }),
            "dola_layers: expected numbers below the model's 4 layers, got 4");
}

/// Straight from the definition, in double precision.
std::vector<double> softmax(const std::vector<float>& logits) {
  double sum = 0;
  std::vector<double> out;
  for (const float v : logits) sum += std::exp(double{v});
  for (const float v : logits) out.push_back(std::exp(double{v}) / sum);
  return out;
}

TEST(DolaContrast, TakesTheLayerThatDiffersMostAndTheTokensWithATenthOfTheBest) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 2);
  for (const size_t vocab : {5u, 1000u, 40000u}) {
    std::vector<std::vector<float>> layers(4, std::vector<float>(vocab));
    for (auto& layer : layers) {
      for (float& v : layer) v = normal(random);
    }
    const std::vector<float>& last = layers.back();
    std::vector<std::span<const float>> early(layers.begin(), layers.end() - 1);
    const std::vector<double> p = softmax(last);
    double most = -1;
    std::vector<double> base;
    for (size_t layer = 0; layer < early.size(); ++layer) {
      const std::vector<double> q = softmax(layers[layer]);
      double js = 0;
      for (size_t i = 0; i < vocab; ++i) {
        const double m = (p[i] + q[i]) / 2;
        js += m * std::log(m / p[i]) + m * std::log(m / q[i]);
      }
      if (js > most) {
        most = js;
        base = q;
      }
    }
    std::vector<float> got;
    dola_contrast(last, early, got);
    const double best = *std::max_element(p.begin(), p.end());
    for (size_t i = 0; i < vocab; ++i) {
      if (p[i] < best * 0.0999) EXPECT_EQ(got[i], logits::kRemoved);
      if (p[i] > best * 0.1001) EXPECT_NEAR(got[i], std::log(p[i] / base[i]), 1e-4);
    }
  }
}

}  // namespace
}  // namespace genkit::generate

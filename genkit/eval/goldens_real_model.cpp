// gemma3_270m.json: greedy continuations, perplexity and encodings of a real model from its GGUF.
// gemma3_270m_modes.json: sequences of other modes.

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_generate.h"
#include "genkit/eval/golden_set.h"
#include "genkit/generate/generate.h"

namespace genkit::eval {

namespace mx = mlx::core;

namespace {

constexpr double kLogprob = 2e-3;
constexpr double kPerplexity = 1e-4;  ///< relative

}  // namespace

void expect_top(const std::string& field, const std::vector<generate::TokenLogprob>& got,
                const JsonView& want) {
  if (got.size() < want.size()) {
    throw Mismatch(fmt::format("{}: got {} log-probabilities, expected {}", field, got.size(), want.size()));
  }
  for (size_t i = 0; i < want.size(); ++i) {
    const int32_t id = want.at(i).at(0).integer<int32_t>();
    const double logprob = want.at(i).at(1).number();
    const std::string at = fmt::format("{}[{}]", field, i);
    expect_close(at, std::vector<float>{got[i].logprob}, std::vector<float>{static_cast<float>(logprob)},
                 kLogprob);
    const auto same = std::find_if(got.begin(), got.end(), [&](const auto& t) { return t.id == id; });
    // The last of the list may have changed places with the first one outside.
    if (same == got.end() && std::abs(got[i].logprob - got.back().logprob) > kLogprob) {
      throw Mismatch(fmt::format("{}: got token {}, expected {}", at, got[i].id, id));
    }
    if (same != got.end()) {
      expect_close(fmt::format("{}, token {}", at, id), std::vector<float>{same->logprob},
                   std::vector<float>{static_cast<float>(logprob)}, kLogprob);
    }
  }
}

namespace {

void check_greedy(const RealModel& real, const JsonView& c) {
  const auto prompt = c.at("prompt_ids").integers<int32_t>();
  expect_ids("prompt_ids", real.tokenizer->encode(c.at("prompt").string()), prompt);
  const auto want = c.at("new_ids").integers<int32_t>();
  const JsonView top = c.at("top");
  generate::GenerationRequest request;
  request.prompts = {{.ids = prompt}};
  request.model_defaults = generate::GenerationConfig::from_model(real.generation_config);
  request.config.max_new_tokens = static_cast<int>(want.size());
  request.config.do_sample = false;
  request.config.top_logprobs = top.size() == 0 ? 0 : static_cast<int>(top.at(size_t{0}).size());
  const auto result = generate::generate(*real.model, real.tokenizer.get(), request);
  const generate::GeneratedRow& row = result.rows.at(0);
  expect_ids("new_ids", row.ids, want);
  expect_text("text", real.tokenizer->decode(row.ids, true), c.at("text").string());
  for (size_t step = 0; step < top.size(); ++step) {
    expect_top(fmt::format("top[{}]", step), row.top_logprobs.at(step), top.at(step));
  }
}

void check_mode(const RealModel& real, const JsonView& c) {
  generate::GenerationRequest request;
  request.prompts = {{.ids = c.at("prompt_ids").integers<int32_t>()}};
  request.model_defaults = generate::GenerationConfig::from_model(real.generation_config);
  request.config = generate::GenerationConfig::from_caller(c.at("params").json(), "params");
  const generate::GeneratedRow row =
      generate::generate(*real.model, real.tokenizer.get(), request).rows.at(0);
  std::vector<std::vector<int32_t>> ids = {row.ids};
  std::vector<float> scores = {row.sequence_score.value_or(0)};
  for (const generate::GeneratedRow& other : row.others) {
    ids.push_back(other.ids);
    scores.push_back(other.sequence_score.value_or(0));
  }
  expect_rows("new_ids", ids, id_rows(c.at("new_ids")));
  if (const auto want = c.find("sequences_scores")) {
    expect_close("sequences_scores", scores, floats(*want), kLogprob);
  }
}

void check_perplexity(const RealModel& real, const JsonView& c) {
  const auto ids = c.at("ids").integers<int32_t>();
  expect_ids("ids", real.tokenizer->encode(c.at("text").string()), ids);
  models::ForwardInput input;
  input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  input.rows = {{.length = static_cast<int>(ids.size())}};
  input.logits = models::LogitsFor::kAll;
  const std::vector<float> logits = to_floats(real.model->forward(input).logits.value());
  const size_t vocab = logits.size() / ids.size();
  std::vector<float> got;
  double sum = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const std::span row = std::span(logits).subspan(i * vocab, vocab);
    const double logprob = row[static_cast<size_t>(ids[i + 1])] - log_sum_exp(row);
    sum += logprob;
    got.push_back(static_cast<float>(logprob));
  }
  expect_close("logprobs", got, floats(c.at("logprobs")), kLogprob);
  const double want = c.at("perplexity").number();
  expect_close("perplexity",
               std::vector<float>{static_cast<float>(std::exp(-sum / static_cast<double>(got.size())))},
               std::vector<float>{static_cast<float>(want)}, kPerplexity * want);
}

void check_encode(const text::Tokenizer& tokenizer, const JsonView& c) {
  const std::string text = c.at("text").string();
  const auto ids = c.at("ids").integers<int32_t>();
  expect_ids("ids", tokenizer.encode(text, false), ids);
  expect_ids("ids_with_special", tokenizer.encode(text), c.at("ids_with_special").integers<int32_t>());
  expect_text("decode", tokenizer.decode(ids, true), c.at("decode").string());
}

template <class Check>
void run_list(const GoldenFile& file, GoldenReport& report, const char* list, Check check) {
  const auto cases = file.root().find(list);
  for (size_t i = 0; cases && i < cases->size(); ++i) {
    report.run(fmt::format("{}/{}", list, i), [&] { check(cases->at(i)); });
  }
}

}  // namespace

void run_real_model(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  run_list(file, report, "greedy", [&](const JsonView& c) { check_greedy(set.real_model(), c); });
  run_list(file, report, "modes", [&](const JsonView& c) { check_mode(set.real_model(), c); });
  run_list(file, report, "perplexity", [&](const JsonView& c) { check_perplexity(set.real_model(), c); });
  run_list(file, report, "encode", [&](const JsonView& c) { check_encode(*set.real_tokenizer(), c); });
}

}  // namespace genkit::eval

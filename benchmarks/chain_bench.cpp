// What choosing a token costs over a vocabulary of 262,144: chains of processors, with the draw at their end.

#include <benchmark/benchmark.h>

#include <random>

#include "genkit/logits/chain.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

constexpr int kVocab = 262144;

/// Scores like a language model's: most far below, a few near the top.
std::vector<float> model_scores() {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> out(kVocab);
  for (float& v : out) v = normal(generator);
  for (int i = 0; i < 40; ++i) out[generator() % kVocab] = 12 + normal(generator);
  return out;
}

void run(benchmark::State& state, const char* options) {
  const auto effective =
      config::resolve({}, config::GenerationConfig::from_caller(nlohmann::json::parse(options), ""));
  std::vector<int32_t> context(1000);
  std::mt19937 generator(4);
  for (int32_t& id : context) id = static_cast<int32_t>(generator() % 5000);
  const Chain chain({.config = effective.values,
                     .mode = effective.mode,
                     .prompt = context,
                     .max_length = 4000,
                     .vocab_size = kVocab});
  const std::vector<float> scores = model_scores();
  std::vector<float> values(scores.size());
  DrawKey key;
  for (auto _ : state) {
    values.assign(scores.begin(), scores.end());
    Scores view(values);
    chain.apply({context}, view);
    ++key.step;
    benchmark::DoNotOptimize(config::draws(effective.mode) ? sample(view, key) : argmax(view));
  }
}

/// Greedy decoding that reports the 20 best tokens' log-probabilities.
void greedy_top_20(benchmark::State& state) {
  const std::vector<float> scores = model_scores();
  for (auto _ : state) {
    benchmark::DoNotOptimize(argmax(std::span<const float>(scores)));
    benchmark::DoNotOptimize(log_sum_exp(std::span<const float>(scores)));
    benchmark::DoNotOptimize(largest(std::span<const float>(scores), 20));
  }
}
BENCHMARK(greedy_top_20)->Unit(benchmark::kMicrosecond);

// A copy of the logits is part of each: the chain changes its scores in place.
BENCHMARK_CAPTURE(run, greedy, R"({"do_sample": false, "repetition_penalty": 1.1})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, draw, R"({"do_sample": true, "top_k": 0})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_k_50, R"({"do_sample": true})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_k_1000, R"({"top_k": 1000})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_p, R"({"top_k": 0, "top_p": 0.9})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, min_p, R"({"top_k": 0, "min_p": 0.05})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, typical_p, R"({"top_k": 0, "typical_p": 0.9})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, eta, R"({"top_k": 0, "eta_cutoff": 0.001})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_p_flat, R"({"temperature": 3.0, "top_k": 0, "top_p": 0.9})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, typical_p_flat, R"({"temperature": 3.0, "top_k": 0, "typical_p": 0.9})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, xtc_dry, R"({"top_k": 0, "xtc_probability": 0.5, "dry_multiplier": 0.8,
    "dry_sequence_breakers": []})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, penalties_and_warpers,
                  R"({"temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.01,
    "typical_p": 0.95, "epsilon_cutoff": 0.0001, "eta_cutoff": 0.0001, "repetition_penalty": 1.1,
    "frequency_penalty": 0.1, "no_repeat_ngram_size": 4})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, the_same_without_top_k,
                  R"({"temperature": 0.8, "top_k": 0, "top_p": 0.9, "min_p": 0.01,
    "typical_p": 0.95, "epsilon_cutoff": 0.0001, "eta_cutoff": 0.0001, "repetition_penalty": 1.1,
    "frequency_penalty": 0.1, "no_repeat_ngram_size": 4})")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, mirostat, R"({"mirostat_tau": 5.0})")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, all_of_them,
                  R"({"temperature": 0.8, "top_h": 0.9, "top_k": 0, "top_p": 0.95, "min_p": 0.01,
    "typical_p": 0.95, "epsilon_cutoff": 0.0001, "eta_cutoff": 0.0001, "repetition_penalty": 1.1,
    "frequency_penalty": 0.1, "dry_multiplier": 0.8, "dry_sequence_breakers": [], "no_repeat_ngram_size": 4,
    "xtc_probability": 0.5, "renormalize_logits": true})")
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace genkit::logits

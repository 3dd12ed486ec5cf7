#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/steering/guard.h"
#include "genkit/steering/hooks.h"
#include "genkit/steering/scores.h"
#include "genkit/steering/vector_set.h"

namespace genkit::steering {

struct SweepOptions {
  std::vector<int> layers;     ///< from 0
  std::vector<double> alphas;  ///< in rising order
  std::optional<AlphaUnit> unit;
  SteerMode mode = SteerMode::kAdd;
  Positions positions;
  generate::GenerationConfig config;  ///< of the answers: max_new_tokens, do_sample, seed, ...
  generate::GenerationConfig model_defaults;
  WordLists words;  ///< empty: no log-odds
  GuardOptions guard;
  size_t batch = 32;  ///< prompts that run at a time
  /// Called with (cells done, in all, what is being done); false ends it.
  std::function<bool(size_t, size_t, const std::string&)> progress;
  const std::atomic<bool>* cancel = nullptr;
};

struct SweepPrompt {
  std::string text;  ///< as shown
  std::vector<int32_t> ids;
  std::vector<int32_t> with_system = {};  ///< the same with the trait in the system prompt; of all or none
};

/// What the answers of one setting score, as means over the prompts. NaN (null in JSON) where nothing
/// can be measured, as where every answer is empty.
struct SweepScores {
  /// Of the answers' tokens as the unsteered model reads them, along the unit direction, by layer: of
  /// a cell only its own.
  std::map<int, double> projection;
  std::optional<double> log_odds;  ///< of the token after the prompt, while steering acts
  double perplexity = 0;           ///< of the answers, to the unsteered model without system prompt
  double kl = 0;  ///< of the token after the prompt: this setting from the unsteered model, nats
  double distinct_1 = 0, distinct_2 = 0;
  double changed = 0;  ///< share of the answers that are not the base's, token by token
  double mean_tokens = 0;
  std::vector<std::string> texts;
  GuardCounters guard;
};

struct SweepCell {
  int layer = 0;
  double alpha = 0;
  SweepScores scores;
};

struct SweepResult {
  std::string vector, model, unit;
  std::vector<std::string> prompts;
  std::vector<int> layers;
  std::vector<double> alphas;
  uint64_t seed = 0;
  SweepScores base;                   ///< without steering
  std::optional<SweepScores> system;  ///< the trait in the system prompt
  std::string system_prompt;
  std::vector<SweepCell> cells;  ///< layer by layer, alpha by alpha
};

/// Runs every prompt at every layer with every alpha, and without steering, and, where the prompts
/// have it, with the trait in the system prompt. Base and variants draw with seeds of their own.
/// @throws ArgumentError for empty lists, alphas that do not rise or are not finite, layers that the
///         vectors or the model do not have, and as generate(); Error "interrupted".
SweepResult run_sweep(const models::Model& model, const text::Tokenizer& tokenizer, const VectorSet& vectors,
                      const std::vector<SweepPrompt>& prompts, const SweepOptions& options);

nlohmann::ordered_json to_json(const SweepResult& result);

/// One HTML page with the curves, a table and the texts side by side: no script, nothing from the
/// network, for phones too, light and dark as the reader's system has it.
std::string sweep_page(const SweepResult& result);

}  // namespace genkit::steering

#include "genkit/steering/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "genkit/base/error.h"

namespace genkit::steering {

namespace {

using Logprobs = std::vector<std::vector<float>>;

/// Prompts of one setting, and what acts on them.
struct Setting {
  const std::vector<std::vector<int32_t>>* prompts;
  std::vector<models::ForwardHook*> hooks;
  uint64_t seed;
};

class Sweep {
 public:
  Sweep(const models::Model& model, const text::Tokenizer& tokenizer, const VectorSet& vectors,
        const std::vector<SweepPrompt>& prompts, const SweepOptions& options)
      : model_(model), tokenizer_(tokenizer), vectors_(vectors), options_(options), guard_(options.guard) {
    for (const SweepPrompt& prompt : prompts) {
      plain_.push_back(prompt.ids);
      if (!prompt.with_system.empty()) system_.push_back(prompt.with_system);
      result_.prompts.push_back(prompt.text);
    }
    check();
    result_.vector = vectors.name;
    result_.layers = options.layers;
    result_.alphas = options.alphas;
    result_.seed = options.config.seed.value_or(options.model_defaults.seed.value_or(0));
    result_.unit = options.unit ? to_string(*options.unit) : to_string(AlphaUnit::kAbsolute);
    cells_ = options.layers.size() * options.alphas.size() + 1 + !system_.empty();
  }

  SweepResult run() {
    result_.base = base();
    if (!system_.empty()) {
      tell("trait in the system prompt");
      result_.system =
          measure({&system_, {}, variant_seed(result_.seed, 0)}, options_.layers, /*guarded=*/true);
      ++done_;
    }
    uint64_t variant = 1;
    for (const int layer : options_.layers) {
      for (const double alpha : options_.alphas) {
        tell(fmt::format("block {}, alpha {}", layer, alpha));
        InjectionOptions how;
        how.mode = options_.mode;
        how.positions = options_.positions;
        how.unit = options_.unit;
        ResidualInjectionHook hook(layer, vectors_.vector(layer), alpha, how);
        const Setting setting{&plain_, {&hook}, variant_seed(result_.seed, variant++)};
        result_.cells.push_back({layer, alpha, measure(setting, {layer}, /*guarded=*/true)});
        ++done_;
      }
    }
    tell("");
    return std::move(result_);
  }

 private:
  void check() const {
    if (plain_.empty()) throw ArgumentError("prompts: there are none");
    if (options_.layers.empty()) throw ArgumentError("layers: there are none");
    if (options_.alphas.empty()) throw ArgumentError("alphas: there are none");
    if (options_.batch == 0) throw ArgumentError("batch: expected at least 1, got 0");
    for (size_t i = 0; i < options_.alphas.size(); ++i) {
      if (!std::isfinite(options_.alphas[i])) throw ArgumentError("alphas: one is not finite");
      if (i > 0 && !(options_.alphas[i - 1] < options_.alphas[i])) {
        throw ArgumentError(fmt::format("alphas: expected rising numbers, got {} after {}",
                                        options_.alphas[i], options_.alphas[i - 1]));
      }
    }
    if (!system_.empty() && system_.size() != plain_.size()) {
      throw ArgumentError("prompts: some have a system prompt and some have none");
    }
    const int blocks = model_.components().num_blocks;
    for (const int layer : options_.layers) {
      if (layer < 0 || layer >= blocks) {
        throw ArgumentError(fmt::format("layers: block {} of a model with {} blocks", layer, blocks));
      }
      vectors_.at(layer);
    }
  }

  void tell(const std::string& what) const {
    const bool stop = options_.cancel != nullptr && options_.cancel->load();
    if (stop || (options_.progress && !options_.progress(done_, cells_, what))) throw Error("interrupted");
  }

  SweepScores base() {
    tell("no steering");
    next_token_logprobs(model_, plain_, {}, [&](size_t, std::span<const float> logprobs) {
      base_next_.emplace_back(logprobs.begin(), logprobs.end());
    });
    const SweepScores scores = measure({&plain_, {}, result_.seed}, options_.layers, /*guarded=*/false);
    ++done_;
    return scores;
  }

  /// Answers in groups of the batch size; the base's are kept to compare with.
  GuardedRows answers(const Setting& setting, bool guarded) {
    GuardedRows out;
    const Guard plain;
    generate::GenerationRequest request;
    request.model_defaults = options_.model_defaults;
    request.config = options_.config;
    request.config.seed = setting.seed;
    request.hooks = setting.hooks;
    request.cancel = options_.cancel;
    for (size_t begin = 0; begin < setting.prompts->size(); begin += options_.batch) {
      const size_t end = std::min(setting.prompts->size(), begin + options_.batch);
      request.prompts.clear();
      for (size_t i = begin; i < end; ++i) {
        request.prompts.push_back({.ids = (*setting.prompts)[i], .row_key = i});
      }
      std::vector<const generate::GeneratedRow*> base;
      for (size_t i = begin; i < end && guarded; ++i) base.push_back(&base_rows_[i]);
      GuardedRows group = (guarded ? guard_ : plain).run(model_, &tokenizer_, request, base);
      out.counters += group.counters;
      for (auto& row : group.rows) out.rows.push_back(std::move(row));
    }
    if (options_.cancel != nullptr && options_.cancel->load()) throw Error("interrupted");
    return out;
  }

  SweepScores measure(const Setting& setting, const std::vector<int>& layers, bool guarded) {
    GuardedRows answered = answers(setting, guarded);
    if (!guarded) base_rows_ = answered.rows;
    SweepScores scores;
    scores.guard = answered.counters;
    std::vector<std::vector<int32_t>> ids;
    std::vector<TokenSequence> read;  // as the unsteered model gets to see them, without system prompt
    size_t changed = 0, tokens = 0;
    for (size_t i = 0; i < answered.rows.size(); ++i) {
      const generate::GeneratedRow& row = answered.rows[i];
      ids.push_back(row.ids);
      scores.texts.push_back(row.text);
      changed += row.ids != base_rows_[i].ids;
      tokens += row.ids.size();
      TokenSequence sequence{
          .ids = plain_[i], .begin = static_cast<int>(plain_[i].size()), .where = "answer"};
      sequence.ids.insert(sequence.ids.end(), row.ids.begin(), row.ids.end());
      read.push_back(std::move(sequence));
    }
    const auto rows = static_cast<double>(answered.rows.size());
    scores.changed = static_cast<double>(changed) / rows;
    scores.mean_tokens = static_cast<double>(tokens) / rows;
    scores.distinct_1 = distinct_n(ids, 1);
    scores.distinct_2 = distinct_n(ids, 2);
    scores.perplexity = perplexity(surprise(model_, read));
    for (const int layer : layers) scores.projection[layer] = mean_projection(read, layer);
    measure_next_token(setting, &scores);
    return scores;
  }

  double mean_projection(const std::vector<TokenSequence>& read, int layer) const {
    double sum = 0;
    size_t count = 0;
    for (const Projection& row : project(model_, read, layer, vectors_.at(layer))) {
      if (std::isnan(row.mean)) continue;  // an empty answer
      sum += row.mean;
      ++count;
    }
    return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(count);
  }

  void measure_next_token(const Setting& setting, SweepScores* scores) const {
    double odds = 0;
    next_token_logprobs(model_, *setting.prompts, setting.hooks,
                        [&](size_t i, std::span<const float> logprobs) {
                          scores->kl += kl_divergence(logprobs, base_next_[i]);
                          if (!options_.words.empty()) odds += log_odds(logprobs, options_.words);
                        });
    const auto rows = static_cast<double>(setting.prompts->size());
    scores->kl /= rows;
    if (!options_.words.empty()) scores->log_odds = odds / rows;
  }

  const models::Model& model_;
  const text::Tokenizer& tokenizer_;
  const VectorSet& vectors_;
  const SweepOptions& options_;
  Guard guard_;
  std::vector<std::vector<int32_t>> plain_, system_;
  Logprobs base_next_;
  std::vector<generate::GeneratedRow> base_rows_;
  SweepResult result_;
  size_t cells_ = 0, done_ = 0;
};

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json scores_json(const SweepScores& s) {
  nlohmann::ordered_json out;
  out["projection"] = nlohmann::ordered_json::object();
  for (const auto& [layer, value] : s.projection) out["projection"][std::to_string(layer)] = number(value);
  if (s.log_odds) out["log_odds"] = number(*s.log_odds);
  out["perplexity"] = number(s.perplexity);
  out["kl"] = number(s.kl);
  out["distinct_1"] = number(s.distinct_1);
  out["distinct_2"] = number(s.distinct_2);
  out["changed"] = number(s.changed);
  out["mean_tokens"] = number(s.mean_tokens);
  out["guard"] = to_json(s.guard);
  out["texts"] = s.texts;
  return out;
}

}  // namespace

SweepResult run_sweep(const models::Model& model, const text::Tokenizer& tokenizer, const VectorSet& vectors,
                      const std::vector<SweepPrompt>& prompts, const SweepOptions& options) {
  return Sweep(model, tokenizer, vectors, prompts, options).run();
}

nlohmann::ordered_json to_json(const SweepResult& r) {
  nlohmann::ordered_json out = {{"vector", r.vector},  {"model", r.model},   {"alpha_unit", r.unit},
                                {"layers", r.layers},  {"alphas", r.alphas}, {"seed", r.seed},
                                {"prompts", r.prompts}};
  out["base"] = scores_json(r.base);
  if (r.system) {
    out["system_prompt"] = r.system_prompt;
    out["system"] = scores_json(*r.system);
  }
  out["cells"] = nlohmann::ordered_json::array();
  for (const SweepCell& cell : r.cells) {
    nlohmann::ordered_json entry = {{"layer", cell.layer}, {"alpha", cell.alpha}};
    entry.update(scores_json(cell.scores));
    out["cells"].push_back(std::move(entry));
  }
  return out;
}

}  // namespace genkit::steering

#include "genkit/generate/beams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "genkit/base/error.h"
#include "genkit/generate/row_output.h"
#include "genkit/generate/text_output.h"
#include "genkit/logits/selection.h"

namespace genkit::generate {
namespace {

/// What beams that are not there yet count less than the prompt.
constexpr float kFiller = 1e9f;

int eos_count(const GenerationConfig& config) {
  return config.eos_token_id ? static_cast<int>(config.eos_token_id->size()) : 0;
}

}  // namespace

int continuations_of(const RowSetup& setup, int width) {
  const GenerationConfig& config = setup.config.values;
  const int64_t count = int64_t{std::max(2, 1 + eos_count(config))} * width;
  const int64_t most = int64_t{width} * setup.vocab_size;
  if (count > most) {
    throw ArgumentError(
        fmt::format("eos_token_id: with {} of them each step looks at {} continuations, and "
                    "{} beams have {}",
                    eos_count(config), count, width, most));
  }
  if (count > std::numeric_limits<int>::max()) {
    throw ArgumentError(fmt::format("num_beams: {} are too many", width));
  }
  return static_cast<int>(count);
}

Beams::Beams(RowSetup setup)
    : setup_(std::move(setup)),
      chain_(setup_.chain(std::max(1, eos_count(setup_.config.values)) + 1)),
      stop_(setup_) {
  Beam first{
      .path = {}, .score = 0, .tokens = CacheRow(setup_.prompt.tokens, setup_.cache), .unconditional = {}};
  first.path.context = setup_.prompt.ids;
  if (auto branch = unconditional_branch(setup_)) first.unconditional.emplace(std::move(*branch));
  beams_.push_back(std::move(first));
}

int Beams::new_tokens() const {
  return static_cast<int>(beams_.front().path.context.size() - setup_.prompt.ids.size());
}

bool Beams::is_eos(int32_t token) const { return stop_.is_eos(token); }

std::optional<std::string> Beams::stop_string(size_t beam, int32_t token) const {
  if (!stop_.has_strings()) return {};
  std::vector<int32_t> ids = beams_[beam].path.context;
  ids.push_back(token);
  return stop_.stop_string(ids);
}

bool Beams::out_of_time() const { return stop_.out_of_time(); }

bool Beams::next_is_last() const {
  return static_cast<int>(beams_.front().path.context.size()) + 1 >= setup_.prompt.max_length;
}

std::vector<Feed> Beams::plan(cache::KvCache& cache) {
  std::vector<Feed> feeds;
  for (Beam& beam : beams_) {
    feeds.push_back(beam.tokens.feed(cache));
    if (beam.unconditional) feeds.push_back(beam.unconditional->feed(cache));
  }
  return feeds;
}

void Beams::read(std::span<const FeedOutput> outputs) {
  logits_.clear();
  unconditional_logits_.clear();
  for (size_t feed = 0; feed < outputs.size();) {
    logits_.push_back(outputs[feed++].last_logits());
    if (beams_.front().unconditional) unconditional_logits_.push_back(outputs[feed++].last_logits());
  }
}

void Beams::go_on(cache::KvCache& cache, std::vector<BeamGrowth> chosen) {
  std::vector<int> children(beams_.size(), 0);
  for (const BeamGrowth& growth : chosen) ++children[growth.parent];
  for (size_t b = 0; b < beams_.size(); ++b) {
    if (children[b] > 0) continue;
    beams_[b].tokens.release(cache);
    if (beams_[b].unconditional) beams_[b].unconditional->release(cache);
  }
  std::vector<Beam> next;
  for (BeamGrowth& growth : chosen) {
    Beam& from = beams_[growth.parent];
    const bool last = --children[growth.parent] == 0;
    Beam& beam = next.emplace_back(Beam{.path = std::move(growth.path),
                                        .score = growth.score,
                                        .tokens = last ? std::move(from.tokens) : from.tokens.fork(cache),
                                        .unconditional = {}});
    beam.tokens.push(growth.token);
    if (!from.unconditional) continue;
    beam.unconditional.emplace(last ? std::move(*from.unconditional) : from.unconditional->fork(cache));
    beam.unconditional->push(growth.token);
  }
  beams_ = std::move(next);
}

void Beams::release(cache::KvCache& cache) {
  for (Beam& beam : beams_) {
    beam.tokens.release(cache);
    if (beam.unconditional) beam.unconditional->release(cache);
  }
  beams_.clear();
}

std::shared_ptr<const BeamStep> Beams::record(const Scored& scored) const {
  const bool scores = config().output_scores.value_or(false), logits = config().output_logits.value_or(false);
  if (!scores && !logits && !config().top_logprobs) return nullptr;
  const std::span<const float> raw = logits_[scored.beam];
  auto out = std::make_shared<BeamStep>();
  if (scores) out->scores = scored.values;
  if (logits) out->logits.assign(raw.begin(), raw.end());
  if (config().top_logprobs) {
    for (const auto& [id, value] : logits::largest(raw, *config().top_logprobs)) {
      out->top.push_back({id, static_cast<float>(value - scored.norm)});
    }
  }
  return out;
}

void Beams::score(std::vector<size_t> beams, std::span<const int32_t> others) {
  num_scored_ = beams.size();
  if (scored_.size() < num_scored_) scored_.resize(num_scored_);
  const bool guided = beams_.front().unconditional.has_value();
  // Without anything that looks at all the scores, those of the best tokens are enough.
  const bool transitions = config().output_transition_scores.value_or(false);
  const bool needed = !chain_.empty() || guided || config().output_scores.value_or(false) || transitions;
  std::vector<logits::Context> contexts;
  std::vector<logits::Scores> views;
  for (size_t i = 0; i < num_scored_; ++i) {
    Scored& scored = scored_[i];
    scored.beam = beams[i];
    const std::span<const float> raw = logits_[scored.beam];
    scored.norm = logits::log_sum_exp(raw);
    scored.materialized = needed || !std::isfinite(scored.norm);
    if (!scored.materialized) continue;
    scored.values.resize(raw.size());
    std::transform(raw.begin(), raw.end(), scored.values.begin(),
                   [&](float logit) { return static_cast<float>(logit - scored.norm); });
    if (guided) logits::guide(scored.values, unconditional_logits_[scored.beam], *config().guidance_scale);
    contexts.push_back({.ids = beams_[scored.beam].path.context, .others = others});
    views.emplace_back(scored.values);
  }
  if (needed) chain_.apply(contexts, views);
  for (size_t i = 0; i < num_scored_; ++i) {
    Scored& scored = scored_[i];
    scored.step = record(scored);
    if (transitions) scored.score_norm = logits::log_sum_exp(scored.values);
    if (!scored.materialized) continue;
    int nan = 0;
    const float own = beams_[scored.beam].score;
    for (float& value : scored.values) {
      value += own;
      nan |= value != value;
    }
    if (nan) fail("a score is not a number, so that no token can be chosen; see remove_invalid_values");
  }
}

void Beams::score_all() {
  std::vector<size_t> all(beams_.size());
  std::iota(all.begin(), all.end(), size_t{0});
  score(std::move(all));
}

float Beams::score_of(size_t place, int32_t token) const {
  const Scored& scored = scored_[place];
  const auto at = static_cast<size_t>(token);
  if (scored.materialized) return scored.values[at];
  return static_cast<float>(logits_[scored.beam][at] - scored.norm) + beams_[scored.beam].score;
}

void Beams::materialize(Scored& scored) {
  if (scored.materialized) return;
  const std::span<const float> raw = logits_[scored.beam];
  scored.values.resize(raw.size());
  const float own = beams_[scored.beam].score;
  for (size_t i = 0; i < raw.size(); ++i) {
    scored.values[i] = static_cast<float>(raw[i] - scored.norm) + own;
  }
  scored.materialized = true;
}

std::vector<Continuation> Beams::best_of(Scored& scored, int number, int count) {
  std::vector<Continuation> out;
  if (!scored.materialized) {
    const float own = beams_[scored.beam].score;
    for (const auto& [token, score] : logits::largest_mapped(logits_[scored.beam], count, [&](float logit) {
           return static_cast<float>(logit - scored.norm) + own;
         })) {
      out.push_back({number, token, score});
    }
    if (out.size() == std::min(static_cast<size_t>(count), logits_[scored.beam].size())) return out;
    out.clear();
    materialize(scored);
  }
  for (const auto& [token, score] : logits::largest(scored.values, count)) {
    out.push_back({number, token, score});
  }
  return out;
}

std::vector<Continuation> Beams::best(int count, int width) {
  std::vector<Continuation> out;
  for (size_t i = 0; i < num_scored_; ++i) {
    const std::vector<Continuation> part = best_of(scored_[i], static_cast<int>(i), count);
    out.insert(out.end(), part.begin(), part.end());
  }
  // Where one beam stands for all and has enough by itself, the others would not be looked at.
  const bool enough = out.size() >= static_cast<size_t>(count) && out.back().score > -kFiller / 2;
  if (at_prompt() && num_scored_ < static_cast<size_t>(width) && !enough) {
    return choose(count, width,
                  [](std::span<const std::span<const float>> scores, int n, const logits::DrawKey&) {
                    return best_continuations(scores, n);
                  });
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Continuation& a, const Continuation& b) { return a.score > b.score; });
  out.resize(std::min(out.size(), static_cast<size_t>(count)));
  if (out.empty() || !(out.front().score > logits::kRemoved))
    fail("every token is removed, so that none can be chosen");
  return out;
}

std::vector<Continuation> Beams::choose(int count, int width, const ChooseContinuations& choose) {
  std::vector<std::span<const float>> scores;
  for (size_t i = 0; i < num_scored_; ++i) {
    materialize(scored_[i]);
    scores.emplace_back(scored_[i].values);
  }
  std::vector<float> filler;
  if (scores.size() < static_cast<size_t>(width)) {
    filler.assign(scores.front().begin(), scores.front().end());
    for (float& value : filler) value -= kFiller;
    scores.resize(static_cast<size_t>(width), filler);
  }
  std::vector<Continuation> chosen =
      choose(scores, count, setup_.key_after(beams_.front().path.context.size()));
  const bool any = std::any_of(chosen.begin(), chosen.end(),
                               [](const Continuation& next) { return next.score > logits::kRemoved; });
  if (!any) fail("every token is removed, so that none can be chosen");
  return chosen;
}

BeamPath Beams::extended(const Continuation& next, int number) const {
  const Scored& scored = scored_[place(next.beam)];
  BeamPath out = beams_[scored.beam].path;
  out.context.push_back(next.token);
  out.beams.push_back(number);
  if (config().top_logprobs) {
    const float logit = logits_[scored.beam][static_cast<size_t>(next.token)];
    out.logprobs.push_back(static_cast<float>(logit - scored.norm));
  }
  if (config().output_transition_scores.value_or(false)) {
    const float transition = score_of(place(next.beam), next.token) - beams_[scored.beam].score;
    out.transitions.push_back(transition);
    out.normalized_transitions.push_back(static_cast<float>(transition - scored.score_norm));
  }
  if (scored.step) out.steps.push_back(scored.step);
  out.reason = FinishReason::kCancelled;
  return out;
}

GeneratedRow Beams::to_row(const BeamPath& path, float score) const {
  GeneratedRow row;
  row.prompt_ids = setup_.prompt.ids;
  row.ids.assign(path.context.begin() + static_cast<std::ptrdiff_t>(setup_.prompt.ids.size()),
                 path.context.end());
  row.finish_reason = path.reason;
  row.stop_string = path.stop_string;
  row.seed = setup_.key.seed;
  row.sequence_score = score;
  row.beam_indices = path.beams;
  row.logprobs = path.logprobs;
  row.transition_scores = path.transitions;
  row.normalized_transition_scores = path.normalized_transitions;
  for (const auto& step : path.steps) {
    if (config().top_logprobs) row.top_logprobs.push_back(step->top);
    if (config().output_scores.value_or(false)) row.scores.push_back(step->scores);
    if (config().output_logits.value_or(false)) row.logits.push_back(step->logits);
  }
  if (!setup_.tokenizer) return row;
  TextOutput text(*setup_.tokenizer, config().stop_strings.value_or(std::vector<std::string>{}),
                  setup_.skip_special_tokens);
  const bool eos = path.reason == FinishReason::kEos;
  for (size_t i = 0; i + (eos ? 1 : 0) < row.ids.size(); ++i) text.push(row.ids[i]);
  text.finish(path.reason == FinishReason::kStopString);
  row.text = text.text();
  return row;
}

void Beams::fail(const std::string& what) const {
  throw Error(fmt::format("row {}, new token {}: logits: {}", setup_.row, new_tokens(), what));
}

}  // namespace genkit::generate

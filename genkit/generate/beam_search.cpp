#include "genkit/generate/beam_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "genkit/base/error.h"
#include "genkit/generate/text_output.h"
#include "genkit/logits/selection.h"

namespace genkit::generate {
namespace {

int eos_count(const GenerationConfig& config) {
  return config.eos_token_id ? static_cast<int>(config.eos_token_id->size()) : 0;
}

/// So many that num_beams remain when each beam's every EOS is among them.
int continuations_of(const RowSetup& setup) {
  const GenerationConfig& config = setup.config.values;
  const int64_t count = int64_t{std::max(2, 1 + eos_count(config))} * *config.num_beams;
  const int64_t most = int64_t{*config.num_beams} * setup.vocab_size;
  if (count > most) {
    throw ArgumentError(
        fmt::format("eos_token_id: with {} of them each step looks at {} continuations, and "
                    "{} beams have {}",
                    eos_count(config), count, *config.num_beams, most));
  }
  constexpr int64_t kDrawsPerStep = 65536;
  if (setup.config.mode == GenerationMode::kBeamSampling && count > kDrawsPerStep) {
    throw ArgumentError(
        fmt::format("num_beams: {} beams with {} EOS ids draw {} times a step, at most {} "
                    "are possible",
                    *config.num_beams, eos_count(config), count, kDrawsPerStep));
  }
  if (count > std::numeric_limits<int>::max()) {
    throw ArgumentError(fmt::format("num_beams: {} are too many", *config.num_beams));
  }
  return static_cast<int>(count);
}

}  // namespace

BeamSearch::BeamSearch(RowSetup setup)
    : setup_(std::move(setup)),
      num_beams_(*setup_.config.values.num_beams),
      continuations_(continuations_of(setup_)),
      chain_({.config = setup_.config.values,
              .mode = setup_.config.mode,
              .prompt = setup_.prompt.ids,
              .padding = setup_.prompt.padding,
              .max_length = setup_.prompt.max_length,
              .vocab_size = setup_.vocab_size,
              .min_tokens_to_keep = std::max(1, eos_count(setup_.config.values)) + 1,
              .user_processors = setup_.user_processors,
              .prefix_allowed = setup_.prefix_allowed,
              .row = setup_.row}),
      start_(std::chrono::steady_clock::now()),
      finished_({.num_beams = num_beams_,
                 .length_penalty = *setup_.config.values.length_penalty,
                 .early_stopping = *setup_.config.values.early_stopping,
                 .max_new_tokens = setup_.prompt.max_length - static_cast<int>(setup_.prompt.ids.size())}) {
  const GenerationConfig& config = setup_.config.values;
  if (const auto stops = config.stop_strings.value_or(std::vector<std::string>{}); !stops.empty()) {
    if (!setup_.tokenizer) throw ArgumentError("stop_strings: need the model's tokenizer");
    stop_strings_.emplace(*setup_.tokenizer, stops);
  }
  const bool use_cache = config.use_cache.value_or(true);
  Beam first{.path = {},
             .score = 0,
             .tokens = CacheRow(setup_.prompt.tokens, setup_.cache_border, use_cache),
             .unconditional = {}};
  first.path.context = setup_.prompt.ids;
  if (config.guidance_scale.value_or(1) != 1) {
    std::vector<int32_t> negative = setup_.negative_prompt;
    if (negative.empty()) negative = {setup_.prompt.ids.back()};
    first.unconditional.emplace(std::move(negative), setup_.cache_border, use_cache);
  }
  beams_.push_back(std::move(first));
}

std::vector<Feed> BeamSearch::plan(cache::KvCache& cache) {
  std::vector<Feed> feeds;
  for (Beam& beam : beams_) {
    feeds.push_back(beam.tokens.feed(cache));
    if (beam.unconditional) feeds.push_back(beam.unconditional->feed(cache));
  }
  return feeds;
}

std::shared_ptr<const BeamSearch::StepRecord> BeamSearch::record(size_t beam) const {
  const GenerationConfig& config = setup_.config.values;
  const bool scores = config.output_scores.value_or(false), logits = config.output_logits.value_or(false);
  if (!scores && !logits && !config.top_logprobs) return nullptr;
  auto out = std::make_shared<StepRecord>();
  if (scores) out->scores = scores_[beam];
  if (logits) out->logits.assign(logits_[beam].begin(), logits_[beam].end());
  if (config.top_logprobs) {
    for (const auto& [id, value] : logits::largest(logits_[beam], *config.top_logprobs)) {
      out->top.push_back({id, static_cast<float>(value - norms_[beam])});
    }
  }
  return out;
}

void BeamSearch::score() {
  scores_.resize(beams_.size());
  norms_.resize(beams_.size());
  records_.resize(beams_.size());
  std::vector<logits::Context> contexts;
  std::vector<logits::Scores> views;
  for (size_t b = 0; b < beams_.size(); ++b) {
    norms_[b] = logits::log_sum_exp(logits_[b]);
    scores_[b].resize(logits_[b].size());
    std::transform(logits_[b].begin(), logits_[b].end(), scores_[b].begin(),
                   [&](float logit) { return static_cast<float>(logit - norms_[b]); });
    if (beams_[b].unconditional) {
      logits::guide(scores_[b], unconditional_logits_[b], *setup_.config.values.guidance_scale);
    }
    contexts.push_back({beams_[b].path.context});
    views.emplace_back(scores_[b]);
  }
  // The chain sees log-probabilities, without the beam's own score: transformers' order.
  chain_.apply(contexts, views);
  for (size_t b = 0; b < beams_.size(); ++b) {
    records_[b] = record(b);
    int nan = 0;
    for (float& value : scores_[b]) {
      value += beams_[b].score;
      nan |= value != value;
    }
    if (nan) {
      throw Error(
          fmt::format("row {}, new token {}: logits: a score is not a number, so that no token can "
                      "be chosen; see remove_invalid_values",
                      setup_.row, new_tokens()));
    }
  }
}

std::vector<Continuation> BeamSearch::choose() {
  std::vector<std::span<const float>> scores(scores_.begin(), scores_.end());
  // Before the first token all beams are the same; the others count so little that they only fill up.
  std::vector<float> filler;
  if (beams_.size() < static_cast<size_t>(num_beams_)) {
    filler = scores_.front();
    for (float& value : filler) value -= 1e9f;
    scores.resize(static_cast<size_t>(num_beams_), filler);
  }
  setup_.key.step = static_cast<uint64_t>(new_tokens());
  std::vector<Continuation> chosen;
  if (setup_.config.mode != GenerationMode::kBeamSampling)
    chosen = best_continuations(scores, continuations_);
  else if (setup_.choose_continuations)
    chosen = setup_.choose_continuations(scores, continuations_, setup_.key);
  else
    chosen = draw_continuations(scores, continuations_, setup_.key);
  const bool any = std::any_of(chosen.begin(), chosen.end(),
                               [](const Continuation& next) { return next.score > logits::kRemoved; });
  if (!any) {
    throw Error(
        fmt::format("row {}, new token {}: logits: every token is removed, so that none can be chosen",
                    setup_.row, new_tokens()));
  }
  return chosen;
}

BeamSearch::Candidate BeamSearch::judge(const Continuation& next) {
  const GenerationConfig& config = setup_.config.values;
  Candidate out{.next = next, .reason = {}, .stop_string = {}};
  const auto eos = config.eos_token_id.value_or(std::vector<int32_t>{});
  if (std::find(eos.begin(), eos.end(), next.token) != eos.end()) {
    out.reason = FinishReason::kEos;
    return out;
  }
  std::vector<int32_t>& context = beams_[parent(next.beam)].path.context;
  const bool last = static_cast<int>(context.size()) + 1 >= setup_.prompt.max_length;
  if (stop_strings_) {
    context.push_back(next.token);
    const int match = stop_strings_->match(context);
    context.pop_back();
    if (match >= 0) {
      out.reason = FinishReason::kStopString;
      out.stop_string = stop_strings_->strings()[static_cast<size_t>(match)];
      return out;
    }
  }
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  if (last || (config.max_time && passed.count() > *config.max_time)) out.reason = FinishReason::kLength;
  return out;
}

BeamSearch::Path BeamSearch::extended(const Candidate& candidate) const {
  const size_t b = parent(candidate.next.beam);
  const auto token = static_cast<size_t>(candidate.next.token);
  Path out = beams_[b].path;
  out.context.push_back(candidate.next.token);
  out.beams.push_back(candidate.next.beam);
  if (setup_.config.values.top_logprobs) {
    out.logprobs.push_back(static_cast<float>(logits_[b][token] - norms_[b]));
  }
  if (records_[b]) out.records.push_back(records_[b]);
  out.reason = candidate.reason.value_or(FinishReason::kCancelled);
  out.stop_string = candidate.stop_string;
  return out;
}

std::vector<BeamSearch::Candidate> BeamSearch::sort_out(const std::vector<Continuation>& chosen) {
  std::vector<Candidate> running;
  for (size_t rank = 0; rank < chosen.size(); ++rank) {
    Candidate candidate = judge(chosen[rank]);
    // The others are only there so that enough remain to go on.
    if (candidate.reason && rank < static_cast<size_t>(num_beams_)) {
      const float score = finished_.penalized(candidate.next.score, new_tokens() + 1);
      if (finished_.admits(score)) finished_.add(score, extended(candidate));
    }
    if (candidate.reason) candidate.next.score -= 1e9f;
    running.push_back(std::move(candidate));
  }
  std::stable_sort(running.begin(), running.end(),
                   [](const Candidate& a, const Candidate& b) { return a.next.score > b.next.score; });
  return running;
}

void BeamSearch::go_on(cache::KvCache& cache, const std::vector<Candidate>& chosen) {
  std::vector<int> children(beams_.size(), 0);
  for (const Candidate& candidate : chosen) ++children[parent(candidate.next.beam)];
  for (size_t b = 0; b < beams_.size(); ++b) {
    if (children[b] > 0) continue;
    beams_[b].tokens.release(cache);
    if (beams_[b].unconditional) beams_[b].unconditional->release(cache);
  }
  std::vector<Beam> next;
  for (const Candidate& candidate : chosen) {
    const size_t p = parent(candidate.next.beam);
    Path path = extended(candidate);
    // A beam's last child takes its row of the cache over.
    const bool last = --children[p] == 0;
    Beam& from = beams_[p];
    Beam& beam = next.emplace_back(Beam{.path = std::move(path),
                                        .score = candidate.next.score,
                                        .tokens = last ? std::move(from.tokens) : from.tokens.fork(cache),
                                        .unconditional = {}});
    beam.tokens.push(candidate.next.token);
    if (!from.unconditional) continue;
    beam.unconditional.emplace(last ? std::move(*from.unconditional) : from.unconditional->fork(cache));
    beam.unconditional->push(candidate.next.token);
  }
  beams_ = std::move(next);
}

void BeamSearch::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                         std::vector<StreamEvent>& events) {
  logits_.clear();
  unconditional_logits_.clear();
  for (size_t feed = 0; feed < outputs.size();) {
    logits_.push_back(outputs[feed++].last_logits());
    if (beams_.front().unconditional) unconditional_logits_.push_back(outputs[feed++].last_logits());
  }
  score();
  std::vector<Candidate> running = sort_out(choose());
  const bool all_ended = std::all_of(running.begin(), running.end(),
                                     [](const Candidate& candidate) { return candidate.reason.has_value(); });
  if (!finished_.improvable(running.front().next.score, new_tokens() + 1) || all_ended) {
    conclude(events);
  } else {
    running.resize(static_cast<size_t>(num_beams_));
    go_on(cache, running);
  }
}

GeneratedRow BeamSearch::to_row(const Path& path, float score) const {
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
  const GenerationConfig& config = setup_.config.values;
  for (const auto& step : path.records) {
    if (config.top_logprobs) row.top_logprobs.push_back(step->top);
    if (config.output_scores.value_or(false)) row.scores.push_back(step->scores);
    if (config.output_logits.value_or(false)) row.logits.push_back(step->logits);
  }
  if (!setup_.tokenizer) return row;
  TextOutput text(*setup_.tokenizer, config.stop_strings.value_or(std::vector<std::string>{}),
                  setup_.skip_special_tokens);
  const bool eos = path.reason == FinishReason::kEos;
  for (size_t i = 0; i + (eos ? 1 : 0) < row.ids.size(); ++i) text.push(row.ids[i]);
  text.finish(path.reason == FinishReason::kStopString);
  row.text = text.text();
  return row;
}

void BeamSearch::conclude(std::vector<StreamEvent>& events) {
  const auto& best = finished_.entries();
  const size_t wanted = static_cast<size_t>(*setup_.config.values.num_return_sequences);
  // Nothing has ended where every beam that did had an infinitely low score.
  result_ = best.empty() ? to_row(beams_.front().path, beams_.front().score)
                         : to_row(best.front().beam, best.front().score);
  for (size_t i = 1; i < std::min(wanted, best.size()); ++i) {
    result_.others.push_back(to_row(best[i].beam, best[i].score));
  }
  done_ = true;
  events.push_back({.row = setup_.row, .token = -1, .text = result_.text, .finished = true});
}

void BeamSearch::cancel(std::vector<StreamEvent>& events) {
  if (done_) return;
  // What still runs stands as it is, among what has ended.
  for (const Beam& beam : beams_) {
    if (new_tokens() == 0) continue;
    const float score = finished_.penalized(beam.score, new_tokens());
    if (finished_.admits(score)) finished_.add(score, beam.path);
  }
  conclude(events);
}

void BeamSearch::release(cache::KvCache& cache) {
  for (Beam& beam : beams_) {
    beam.tokens.release(cache);
    if (beam.unconditional) beam.unconditional->release(cache);
  }
  beams_.clear();
}

}  // namespace genkit::generate

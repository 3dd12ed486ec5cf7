#include "genkit/generate/beam_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "genkit/base/error.h"

namespace genkit::generate {
namespace {

int checked_continuations(const RowSetup& setup) {
  const GenerationConfig& config = setup.config.values;
  const int count = continuations_of(setup, *config.num_beams);
  constexpr int kDrawsPerStep = 65536;
  if (setup.config.mode == GenerationMode::kBeamSampling && count > kDrawsPerStep) {
    throw ArgumentError(fmt::format(
        "num_beams: {} beams with {} EOS ids draw {} times a step, at most {} "
        "are possible",
        *config.num_beams, config.eos_token_id ? config.eos_token_id->size() : 0, count, kDrawsPerStep));
  }
  return count;
}

}  // namespace

BeamSearch::BeamSearch(RowSetup setup)
    : beams_(std::move(setup)),
      num_beams_(*beams_.config().num_beams),
      continuations_(checked_continuations(beams_.setup())),
      finished_({.num_beams = num_beams_,
                 .length_penalty = *beams_.config().length_penalty,
                 .early_stopping = *beams_.config().early_stopping,
                 .max_new_tokens = beams_.max_new_tokens()}) {}

std::vector<Continuation> BeamSearch::choose() {
  const RowSetup& setup = beams_.setup();
  if (setup.config.mode != GenerationMode::kBeamSampling) return beams_.best(continuations_, num_beams_);
  return beams_.choose(continuations_, num_beams_,
                       setup.choose_continuations ? setup.choose_continuations : draw_continuations);
}

BeamSearch::Candidate BeamSearch::judge(const Continuation& next) const {
  Candidate out{.next = next, .reason = {}, .stop_string = {}};
  if (beams_.is_eos(next.token)) {
    out.reason = FinishReason::kEos;
  } else if (auto stop = beams_.stop_string(beams_.parent(next.beam), next.token)) {
    out.reason = FinishReason::kStopString;
    out.stop_string = std::move(*stop);
  } else if (beams_.next_is_last() || beams_.out_of_time()) {
    out.reason = FinishReason::kLength;
  }
  return out;
}

BeamPath BeamSearch::extended(const Candidate& candidate) const {
  BeamPath out = beams_.extended(candidate.next, candidate.next.beam);
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
      const float score = finished_.penalized(candidate.next.score, beams_.new_tokens() + 1);
      if (finished_.admits(score)) finished_.add(score, extended(candidate));
    }
    if (candidate.reason) candidate.next.score -= 1e9f;
    running.push_back(std::move(candidate));
  }
  std::stable_sort(running.begin(), running.end(),
                   [](const Candidate& a, const Candidate& b) { return a.next.score > b.next.score; });
  return running;
}

void BeamSearch::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                         std::vector<StreamEvent>& events) {
  beams_.read(outputs);
  beams_.score_all();
  std::vector<Candidate> running = sort_out(choose());
  const bool all_ended = std::all_of(running.begin(), running.end(),
                                     [](const Candidate& candidate) { return candidate.reason.has_value(); });
  if (!finished_.improvable(running.front().next.score, beams_.new_tokens() + 1) || all_ended) {
    conclude(events);
    return;
  }
  running.resize(static_cast<size_t>(num_beams_));
  std::vector<BeamGrowth> growths;
  for (const Candidate& candidate : running) {
    growths.push_back({.parent = beams_.parent(candidate.next.beam),
                       .token = candidate.next.token,
                       .score = candidate.next.score,
                       .path = extended(candidate)});
  }
  beams_.go_on(cache, std::move(growths));
}

void BeamSearch::conclude(std::vector<StreamEvent>& events) {
  const auto& best = finished_.entries();
  const size_t wanted = static_cast<size_t>(*beams_.config().num_return_sequences);
  // Nothing has ended where every beam that did had an infinitely low score.
  result_ = best.empty() ? beams_.to_row(beams_.path(0), beams_.total(0))
                         : beams_.to_row(best.front().beam, best.front().score);
  for (size_t i = 1; i < std::min(wanted, best.size()); ++i) {
    result_.others.push_back(beams_.to_row(best[i].beam, best[i].score));
  }
  done_ = true;
  events.push_back({.row = beams_.setup().row, .token = -1, .text = result_.text, .finished = true});
}

void BeamSearch::cancel(std::vector<StreamEvent>& events) {
  if (done_) return;
  // What still runs stands as it is, among what has ended.
  for (size_t beam = 0; !beams_.at_prompt() && beam < beams_.size(); ++beam) {
    const float score = finished_.penalized(beams_.total(beam), beams_.new_tokens());
    if (finished_.admits(score)) finished_.add(score, beams_.path(beam));
  }
  conclude(events);
}

}  // namespace genkit::generate

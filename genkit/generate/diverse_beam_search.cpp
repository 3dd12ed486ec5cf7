#include "genkit/generate/diverse_beam_search.h"

#include <algorithm>

namespace genkit::generate {

DiverseBeamSearch::DiverseBeamSearch(RowSetup setup)
    : beams_(std::move(setup)),
      width_(*beams_.config().num_beams / *beams_.config().num_beam_groups),
      continuations_(continuations_of(beams_.setup(), width_)) {
  const GenerationConfig& config = beams_.config();
  const auto eos = config.eos_token_id.value_or(std::vector<int32_t>{});
  padding_ = config.pad_token_id.value_or(-1);
  if (padding_ < 0 && !eos.empty()) padding_ = eos.front();
  groups_.assign(static_cast<size_t>(*config.num_beam_groups),
                 Group{.ended = BeamHypotheses(beams_, width_), .members = {0}});
}

std::vector<BeamGrowth> DiverseBeamSearch::step(size_t group, const std::vector<int32_t>& others) {
  Group& g = groups_[group];
  beams_.score(g.members, others);
  const BeamStepChoice chosen = choose_step(beams_, continuations_, width_);
  const int new_tokens = beams_.new_tokens() + 1, first = static_cast<int>(group) * width_;
  for (const BeamEnd& end : chosen.ended) {
    g.ended.add(end.next.score, new_tokens, ended_path(beams_, end, first + end.next.beam));
  }
  std::vector<BeamGrowth> out;
  for (const Continuation& next : chosen.running) {
    out.push_back({.parent = beams_.parent(next.beam),
                   .token = next.token,
                   .score = next.score,
                   .path = beams_.extended(next, first + next.beam)});
  }
  g.ended.done(chosen.best, new_tokens);
  return out;
}

void DiverseBeamSearch::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                                std::vector<StreamEvent>& events) {
  beams_.read(outputs);
  const bool last = beams_.next_is_last() || beams_.out_of_time();
  const int new_tokens = beams_.new_tokens() + 1;
  std::vector<int32_t> others;
  std::vector<BeamGrowth> growths;
  for (size_t group = 0; group < groups_.size(); ++group) {
    Group& g = groups_[group];
    std::vector<BeamGrowth> grown;
    if (!g.members.empty()) grown = step(group, others);
    g.members.clear();
    for (const BeamGrowth& growth : grown) others.push_back(growth.token);
    others.resize((group + 1) * static_cast<size_t>(width_), padding_);
    if (g.ended.done()) continue;
    for (BeamGrowth& growth : grown) {
      if (last) {
        growth.path.reason = FinishReason::kLength;
        g.ended.add(growth.score, new_tokens, std::move(growth.path));
      } else {
        g.members.push_back(growths.size());
        growths.push_back(std::move(growth));
      }
    }
  }
  if (growths.empty())
    conclude(events);
  else
    beams_.go_on(cache, std::move(growths));
}

void DiverseBeamSearch::conclude(std::vector<StreamEvent>& events) {
  std::vector<const BeamHypotheses::Entry*> entries;
  for (const Group& group : groups_) {
    for (const auto& entry : group.ended.entries()) entries.push_back(&entry);
  }
  result_ = best_rows(beams_, std::move(entries));
  done_ = true;
  events.push_back({.row = beams_.setup().row, .token = -1, .text = result_.text, .finished = true});
}

void DiverseBeamSearch::cancel(std::vector<StreamEvent>& events) {
  if (done_) return;
  for (Group& group : groups_) {
    if (beams_.at_prompt()) break;
    for (const size_t beam : group.members) {
      group.ended.add(beams_.total(beam), beams_.new_tokens(), beams_.path(beam));
    }
  }
  conclude(events);
}

}  // namespace genkit::generate

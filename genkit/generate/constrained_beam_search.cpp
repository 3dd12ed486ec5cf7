#include "genkit/generate/constrained_beam_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "genkit/base/error.h"

namespace genkit::generate {

ConstrainedBeamSearch::ConstrainedBeamSearch(RowSetup setup)
    : beams_(std::move(setup)),
      num_beams_(*beams_.config().num_beams),
      continuations_(continuations_of(beams_.setup(), num_beams_)),
      strictly_(beams_.config().force_words_strictly.value_or(true)),
      ended_(beams_, num_beams_) {
  const GenerationConfig& config = beams_.config();
  logits::check_words(*config.force_words_ids, config.eos_token_id.value_or(std::vector<int32_t>{}),
                      beams_.setup().vocab_size);
  words_.emplace_back(*config.force_words_ids);
  words_.front().add(beams_.setup().prompt.ids);
  if (strictly_) logits::check_room(words_.front(), beams_.max_new_tokens());
}

ConstrainedBeamSearch::Candidate ConstrainedBeamSearch::candidate(const Continuation& next) const {
  Candidate out{.next = next, .words = words_[beams_.parent(next.beam)]};
  out.words.add(next.token);
  return out;
}

std::vector<ConstrainedBeamSearch::Candidate> ConstrainedBeamSearch::forward(
    const std::vector<Candidate>& known) const {
  std::vector<Candidate> out;
  const auto same = [&](const Candidate& a, size_t beam, int32_t token) {
    const size_t parent = beams_.parent(a.next.beam);
    return a.next.token == token &&
           (parent == beam || beams_.path(parent).context == beams_.path(beam).context);
  };
  for (size_t beam = 0; beam < beams_.size(); ++beam) {
    for (const int32_t token : words_[beam].next()) {
      const auto here = [&](const Candidate& a) { return same(a, beam, token); };
      if (std::any_of(known.begin(), known.end(), here) || std::any_of(out.begin(), out.end(), here))
        continue;
      const float score = beams_.score_of(beam, token);
      if (!(score > logits::kRemoved)) continue;  // a processor has taken it out
      out.push_back(candidate({.beam = static_cast<int>(beam), .token = token, .score = score}));
    }
  }
  return out;
}

std::vector<ConstrainedBeamSearch::Candidate> ConstrainedBeamSearch::divide(std::vector<Candidate> candidates,
                                                                            size_t places) const {
  std::vector<int> banks;
  for (const Candidate& c : candidates) banks.push_back(c.words.bank());
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return banks[a] != banks[b] ? banks[a] > banks[b] : candidates[a].next.score > candidates[b].next.score;
  });
  // The best of each stage first, then the second best of each, and so on.
  std::vector<std::pair<int, size_t>> turns;
  for (size_t i = 0; i < order.size(); ++i) {
    const bool same = i > 0 && banks[order[i]] == banks[order[i - 1]];
    turns.emplace_back(same ? turns.back().first + 1 : 0, order[i]);
  }
  std::stable_sort(turns.begin(), turns.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Candidate> out;
  for (size_t i = 0; i < std::min(places, turns.size()); ++i) {
    out.push_back(std::move(candidates[turns[i].second]));
  }
  return out;
}

bool ConstrainedBeamSearch::in_time(const Candidate& candidate) const {
  return candidate.words.missing() <= beams_.max_new_tokens() - beams_.new_tokens() - 1;
}

std::optional<ConstrainedBeamSearch::Candidate> ConstrainedBeamSearch::onward(size_t place) const {
  const auto eos = beams_.config().eos_token_id.value_or(std::vector<int32_t>{});
  std::optional<Continuation> best;
  for (int32_t token = 0; token < beams_.setup().vocab_size; ++token) {
    const float score = beams_.score_of(place, token);
    if (!(score > logits::kRemoved) || (best && !(score > best->score)) || beams_.is_eos(token)) continue;
    best = Continuation{.beam = static_cast<int>(place), .token = token, .score = score};
  }
  if (!best) return {};
  return candidate(*best);
}

void ConstrainedBeamSearch::save(std::vector<Candidate>& chosen, std::vector<Candidate> all) {
  const auto wanted = static_cast<size_t>(*beams_.config().num_return_sequences);
  size_t kept = ended_.entries().size();
  for (const Candidate& c : chosen) kept += in_time(c);
  if (kept >= wanted) return;
  for (size_t beam = 0; beam < beams_.size(); ++beam) {
    if (!words_[beam].complete()) continue;
    if (auto next = onward(beam)) all.push_back(std::move(*next));
  }
  const auto same = [](const Candidate& a, const Candidate& b) {
    return a.next.beam == b.next.beam && a.next.token == b.next.token;
  };
  std::stable_sort(all.begin(), all.end(),
                   [](const Candidate& a, const Candidate& b) { return a.next.score > b.next.score; });
  for (Candidate& c : all) {
    const bool here =
        std::any_of(chosen.begin(), chosen.end(), [&](const Candidate& other) { return same(c, other); });
    if (kept >= wanted || here || !in_time(c)) continue;
    const auto lost =
        std::find_if(chosen.rbegin(), chosen.rend(), [&](const Candidate& other) { return !in_time(other); });
    if (lost != chosen.rend())
      *lost = std::move(c);
    else if (chosen.size() < static_cast<size_t>(num_beams_))
      chosen.push_back(std::move(c));
    else
      return;
    ++kept;
  }
}

void ConstrainedBeamSearch::advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
                                    std::vector<StreamEvent>& events) {
  beams_.read(outputs);
  beams_.score_all();
  const BeamStepChoice step = choose_step(beams_, continuations_, num_beams_);
  const int new_tokens = beams_.new_tokens() + 1;
  for (const BeamEnd& end : step.ended) {
    // EOS is after the words; a stop string may end with the last of them.
    const bool complete = end.reason == FinishReason::kEos ? words_[beams_.parent(end.next.beam)].complete()
                                                           : candidate(end.next).words.complete();
    if (complete) ended_.add(end.next.score, new_tokens, ended_path(beams_, end, end.next.beam));
  }
  std::vector<Candidate> all;
  for (const Continuation& next : step.running) all.push_back(candidate(next));
  const std::vector<Candidate> further = forward(all);
  all.insert(all.end(), further.begin(), further.end());
  std::vector<Candidate> chosen = further.empty() ? all : divide(all, static_cast<size_t>(num_beams_));
  if (strictly_) save(chosen, std::move(all));
  const bool enough = ended_.done(step.best, new_tokens);
  if (enough || chosen.empty() || beams_.next_is_last() || beams_.out_of_time()) {
    if (!enough) end(chosen);
    if (ended_.entries().empty()) {
      throw Error(
          fmt::format("row {}: force_words_ids: processors leave no sequence of {} new tokens that "
                      "holds them all",
                      beams_.setup().row, beams_.max_new_tokens()));
    }
    conclude(events);
    return;
  }
  std::vector<BeamGrowth> growths;
  std::vector<logits::WordProgress> words;
  for (const Candidate& c : chosen) {
    growths.push_back({.parent = beams_.parent(c.next.beam),
                       .token = c.next.token,
                       .score = c.next.score,
                       .path = beams_.extended(c.next, c.next.beam)});
    words.push_back(c.words);
  }
  beams_.go_on(cache, std::move(growths));
  words_ = std::move(words);
}

void ConstrainedBeamSearch::end(const std::vector<Candidate>& running) {
  const int new_tokens = beams_.new_tokens() + 1;
  const auto add = [&](const Candidate& c) {
    BeamPath path = beams_.extended(c.next, c.next.beam);
    path.reason = FinishReason::kLength;
    ended_.add(c.next.score, new_tokens, std::move(path));
  };
  int complete = 0;
  for (const Candidate& c : running) {
    if (!c.words.complete()) continue;
    add(c);
    ++complete;
  }
  // Only what time has cut short may lack its words where they are asked for strictly.
  const bool cut = !beams_.next_is_last() && beams_.out_of_time();
  if (complete >= *beams_.config().num_return_sequences || (strictly_ && !cut)) return;
  for (const Candidate& c : running) {
    if (!c.words.complete()) add(c);
  }
}

void ConstrainedBeamSearch::conclude(std::vector<StreamEvent>& events) {
  std::vector<const BeamHypotheses::Entry*> entries;
  for (const auto& entry : ended_.entries()) entries.push_back(&entry);
  result_ = best_rows(beams_, std::move(entries));
  const auto mark = [&](GeneratedRow& row) {
    logits::WordProgress words(*beams_.config().force_words_ids);
    words.add(row.prompt_ids);
    words.add(row.ids);
    row.holds_forced_words = words.complete();
  };
  mark(result_);
  for (GeneratedRow& row : result_.others) mark(row);
  done_ = true;
  events.push_back({.row = beams_.setup().row, .token = -1, .text = result_.text, .finished = true});
}

void ConstrainedBeamSearch::cancel(std::vector<StreamEvent>& events) {
  if (done_) return;
  for (size_t beam = 0; !beams_.at_prompt() && beam < beams_.size(); ++beam) {
    ended_.add(beams_.total(beam), beams_.new_tokens(), beams_.path(beam));
  }
  conclude(events);
}

}  // namespace genkit::generate

#include "genkit/generate/beam_hypotheses.h"

namespace genkit::generate {

BeamStepChoice choose_step(Beams& beams, int continuations, int width) {
  const int most = static_cast<int>(
      std::min<int64_t>(std::numeric_limits<int>::max(), int64_t{width} * beams.setup().vocab_size));
  for (int64_t count = continuations;; count *= 2) {
    count = std::min<int64_t>(count, most);
    BeamStepChoice out;
    const std::vector<Continuation> chosen = beams.best(static_cast<int>(count), width);
    out.best = chosen.front().score;
    for (size_t rank = 0; rank < chosen.size() && out.running.size() < static_cast<size_t>(width); ++rank) {
      const Continuation& next = chosen[rank];
      if (!(next.score > logits::kRemoved)) continue;
      BeamEnd end{.next = next, .reason = FinishReason::kEos, .stop_string = {}};
      bool ends = beams.is_eos(next.token);
      if (!ends) {
        if (auto stop = beams.stop_string(beams.parent(next.beam), next.token)) {
          end.reason = FinishReason::kStopString;
          end.stop_string = std::move(*stop);
          ends = true;
        }
      }
      // Of those that end, the others are only there so that enough remain to go on.
      if (!ends)
        out.running.push_back(next);
      else if (rank < static_cast<size_t>(width))
        out.ended.push_back(std::move(end));
    }
    const bool exhausted = count == most || !(chosen.back().score > logits::kRemoved);
    if (out.running.size() == static_cast<size_t>(width) || exhausted) return out;
  }
}

BeamPath ended_path(const Beams& beams, const BeamEnd& end, int number) {
  BeamPath path = beams.extended(end.next, number);
  path.reason = end.reason;
  path.stop_string = end.stop_string;
  if (end.reason == FinishReason::kEos) path.context.back() = beams.config().eos_token_id->front();
  return path;
}

GeneratedRow best_rows(const Beams& beams, std::vector<const BeamHypotheses::Entry*> entries) {
  std::reverse(entries.begin(), entries.end());
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto* a, const auto* b) { return a->score > b->score; });
  // Nothing there: cancelled before the first token.
  if (entries.empty()) return beams.to_row(beams.path(0), beams.total(0));
  const auto wanted = static_cast<size_t>(*beams.config().num_return_sequences);
  entries.resize(std::min(entries.size(), wanted));
  GeneratedRow out = beams.to_row(entries.front()->path, static_cast<float>(entries.front()->score));
  for (size_t i = 1; i < entries.size(); ++i) {
    out.others.push_back(beams.to_row(entries[i]->path, static_cast<float>(entries[i]->score)));
  }
  return out;
}

}  // namespace genkit::generate

#pragma once

#include <vector>

#include "genkit/generate/beam_hypotheses.h"
#include "genkit/generate/beams.h"

namespace genkit::generate {

/// Diverse beam search over one prompt: the beams are divided into groups, which search one after the other
/// in every step; a token that beams of earlier groups have just chosen counts less for the later ones.
/// @source Vijayakumar et al. 2016; transformers 4.55.4 _group_beam_search.
class DiverseBeamSearch : public Strategy {
 public:
  /// @param setup with num_beams, num_beam_groups (a divisor) and what BeamSearch needs.
  explicit DiverseBeamSearch(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override { return beams_.plan(cache); }
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return done_; }
  bool done() const override { return done_; }
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override { beams_.release(cache); }
  GeneratedRow take() override { return std::move(result_); }

 private:
  struct Group {
    BeamHypotheses ended;
    std::vector<size_t> members;  ///< its running beams; before the first token the prompt
  };
  /// One group's step. @param others what the groups before it chose.
  /// @return how its beams go on.
  std::vector<BeamGrowth> step(size_t group, const std::vector<int32_t>& others);
  void conclude(std::vector<StreamEvent>& events);

  Beams beams_;
  int width_;          ///< beams of a group
  int continuations_;  ///< of a group that are looked at in each step
  int32_t padding_;    ///< what a group that has ended counts as choosing
  std::vector<Group> groups_;
  bool done_ = false;
  GeneratedRow result_;
};

}  // namespace genkit::generate

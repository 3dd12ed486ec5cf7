#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genkit/generate/beam_choice.h"
#include "genkit/generate/cache_row.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/stop_rules.h"
#include "genkit/generate/strategy.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// What one beam saw at one step; beams that come from it share it.
struct BeamStep {
  std::vector<float> scores, logits;
  std::vector<TokenLogprob> top;
};

/// What a beam has so far.
struct BeamPath {
  std::vector<int32_t> context;  ///< the prompt with its padding, then the new tokens
  std::vector<int32_t> beams;    ///< which beam each new token continued
  std::vector<float> logprobs;
  std::vector<float> transitions, normalized_transitions;  ///< where they are asked for
  std::vector<std::shared_ptr<const BeamStep>> steps;
  FinishReason reason = FinishReason::kCancelled;
  std::string stop_string;
};

/// A beam that goes on: whose child it is, and by which token.
struct BeamGrowth {
  size_t parent = 0;
  int32_t token = 0;
  float score = 0;  ///< sum of processed log-probabilities
  BeamPath path;    ///< the token included
};

/// The running beams of one prompt: their rows of the cache, and the scores that a step gives them. The
/// prompt is run once; beams are forks of its row of the cache, so that they share its pages and
/// reordering them copies none. What the ways of searching share; how they choose is theirs.
class Beams {
 public:
  /// @param setup with num_beams resolved. @throws ArgumentError naming stop_strings.
  explicit Beams(RowSetup setup);

  const RowSetup& setup() const { return setup_; }
  const GenerationConfig& config() const { return setup_.config.values; }

  // The beams: one before the first token, which stands for all of them.
  size_t size() const { return beams_.size(); }
  const BeamPath& path(size_t beam) const { return beams_[beam].path; }
  float total(size_t beam) const { return beams_[beam].score; }
  bool at_prompt() const { return new_tokens() == 0; }
  int new_tokens() const;
  /// The most that a beam can have.
  int max_new_tokens() const { return setup_.prompt.max_length - static_cast<int>(setup_.prompt.ids.size()); }
  bool is_eos(int32_t token) const;
  /// The stop string that this token would complete; nothing where it completes none.
  std::optional<std::string> stop_string(size_t beam, int32_t token) const;
  bool out_of_time() const;
  /// Whether one token more makes a beam as long as it may be.
  bool next_is_last() const;

  // The cache.
  std::vector<Feed> plan(cache::KvCache& cache);
  /// @param outputs of the feeds that plan() asked for; they must outlive the step.
  void read(std::span<const FeedOutput> outputs);
  /// These take the beams' place. A beam's last child takes its row of the cache over.
  void go_on(cache::KvCache& cache, std::vector<BeamGrowth> chosen);
  void release(cache::KvCache& cache);

  // Scores.
  /// Scores some of the beams: log-probabilities through the chain, then the beam's own score. The chain
  /// sees log-probabilities without the beam's own score: transformers' order.
  /// @param beams  their numbers; @param others @see logits::Context.
  /// @throws Error for a score that is not a number.
  void score(std::vector<size_t> beams, std::span<const int32_t> others = {});
  void score_all();
  /// The best continuations of the beams that were scored last, @see best_continuations. `beam` counts
  /// within those. Before the first token those of missing beams follow that of the prompt, so far below
  /// that they only fill up. @param width beams to choose among.
  std::vector<Continuation> best(int count, int width);
  /// The same with another way of choosing.
  std::vector<Continuation> choose(int count, int width, const ChooseContinuations& choose);
  /// The place among the scored beams, and the beam, that a continuation continues: before the first
  /// token one stands for all.
  size_t place(int beam) const { return std::min(static_cast<size_t>(beam), num_scored_ - 1); }
  size_t parent(int beam) const { return scored_[place(beam)].beam; }
  /// What the token would bring the scored beam at that place to.
  float score_of(size_t place, int32_t token) const;
  /// A beam with one token more. @param number of the beam it continues, as results name it.
  BeamPath extended(const Continuation& next, int number) const;

  /// A sequence as the caller gets it. @param score with the length penalty.
  GeneratedRow to_row(const BeamPath& path, float score) const;

  /// @throws Error that says in which row and step no token can be chosen.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Beam {
    BeamPath path;
    float score = 0;
    CacheRow tokens;
    std::optional<CacheRow> unconditional;  ///< the other branch of classifier-free guidance
  };
  /// One beam's scores. The memory is kept from step to step.
  struct Scored {
    size_t beam = 0;
    double norm = 0;            ///< log-sum-exp of its logits
    double score_norm = 0;      ///< and of its processed scores, where transition scores are asked for
    bool materialized = false;  ///< `values` hold the scores; else they follow from the logits
    std::vector<float> values;
    std::shared_ptr<const BeamStep> step;  ///< null where nothing of it is asked for
  };
  void materialize(Scored& scored);
  std::vector<Continuation> best_of(Scored& scored, int number, int count);
  std::shared_ptr<const BeamStep> record(const Scored& scored) const;

  RowSetup setup_;
  logits::Chain chain_;
  StopRules stop_;
  std::vector<Beam> beams_;
  std::vector<std::span<const float>> logits_;  ///< one a beam, of the step that is going on
  std::vector<std::span<const float>> unconditional_logits_;
  std::vector<Scored> scored_;
  size_t num_scored_ = 0;
};

/// Continuations that a step looks at, so that `width` remain when each beam's every EOS is among them.
/// @throws ArgumentError naming eos_token_id or num_beams: more than there are, or than can be counted.
int continuations_of(const RowSetup& setup, int width);

}  // namespace genkit::generate

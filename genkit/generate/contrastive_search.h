#pragma once

#include <optional>
#include <vector>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/row_output.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/strategy.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// Contrastive search: of the top_k best tokens the one with the largest
///   (1 - penalty_alpha) * probability - penalty_alpha * likeness
/// where its likeness is the largest cosine between its last hidden state and those of all tokens before it.
/// The candidates run side by side, as forks of the row; a token that a processor has removed is none.
/// @source Su et al. 2022, equation 5; transformers 4.55.4 _contrastive_search, _ranking_fast.
class ContrastiveSearch : public Strategy {
 public:
  /// @param setup with penalty_alpha and top_k resolved.
  explicit ContrastiveSearch(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
  /// @throws Error naming row and step where no token can be chosen.
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return output_.finished(); }
  bool done() const override { return output_.done(); }
  void cancel(std::vector<StreamEvent>& events) override { output_.cancel(events); }
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override { return output_.take(); }

 private:
  struct Candidate {
    int32_t id = 0;
    float probability = 0;
    std::optional<CacheRow> row;  ///< from when it is fed
  };
  enum class Phase : uint8_t {
    kPrompt,
    kGuidance,    ///< the chosen token goes to the other branch of classifier-free guidance
    kCandidates,  ///< all of them go to the model
  };

  /// Processes the scores of the next token and picks the candidates.
  void propose();
  /// The place of the best candidate. @param states [candidates][hidden], of length one.
  size_t rank(const std::vector<std::vector<float>>& states) const;
  void choose(cache::KvCache& cache, std::span<const FeedOutput> outputs, std::vector<StreamEvent>& events);

  RowSetup setup_;
  logits::Chain chain_;
  RowOutput output_;
  CacheRow row_;
  std::optional<CacheRow> unconditional_;
  Phase phase_ = Phase::kPrompt;
  std::vector<float> logits_, unconditional_logits_;  ///< of the next token, [vocab]
  std::vector<float> scores_;                         ///< the same, processed
  std::vector<float> states_;                         ///< of every token, [tokens, hidden], of length one
  std::vector<Candidate> candidates_;
};

}  // namespace genkit::generate

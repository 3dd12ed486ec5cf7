#pragma once

#include <memory>
#include <vector>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/draft_length.h"
#include "genkit/generate/drafter.h"
#include "genkit/generate/row_setup.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// Lets a smaller model go ahead: token by token, from a row of its own cache, its logits processed by
/// the row's chain with the context that each drafted token would have. Draws where the row draws.
/// @source Leviathan et al. 2023; transformers 5.23 AssistedCandidateGenerator.
class ModelDrafter : public Drafter {
 public:
  /// @param setup, chain the row's; both must outlive this. setup.draft is set.
  ModelDrafter(const RowSetup& setup, const logits::Chain& chain);

  void begin(std::span<const int32_t> context, int most) override;
  std::optional<Feed> feed() override;
  void advance(std::span<const float> logits) override;
  void release() override;
  std::span<float> scores(size_t place) override;

 private:
  /// The draft model's row becomes what has been chosen.
  void catch_up(std::span<const int32_t> context);
  /// Drafts by processed scores. @return false when nothing can be chosen from them.
  bool choose(std::vector<float>& scores);
  /// Whether the last token was less certain than assistant_confidence_threshold.
  bool doubtful(std::span<const float> scores) const;

  const RowSetup& setup_;
  const logits::Chain& chain_;
  CacheRow row_;
  DraftLength length_;
  int room_;                                ///< tokens that the draft model has positions for
  std::vector<int32_t> context_;            ///< what has been chosen, then the draft
  size_t chosen_;                           ///< of them have been chosen
  int wanted_ = 0;                          ///< tokens of this draft
  std::vector<std::vector<float>> scores_;  ///< one a drafted token; the memory is kept
};

}  // namespace genkit::generate

#pragma once

#include <optional>
#include <vector>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/row_output.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/strategy.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// The layers whose early output is contrasted: 0 is the embedding, i what block i is given.
/// @param num_blocks of the model; @param tied its embedding is its head, so that the embedding's own output
///        says nothing and the lowest layers are passed over.
/// @throws ArgumentError naming dola_layers: a layer that is none of the model's, or a choice that is empty.
/// @source transformers 4.55.4 _dola_decoding.
std::vector<int> dola_candidates(const config::DolaLayers& layers, int num_blocks, bool tied);

/// Contrasts the last layer's logits with those of the early layer whose distribution differs most from
/// its own (by Jensen-Shannon divergence): log-probabilities of the last minus those of the early one. Tokens
/// with less than a tenth of the best one's probability are removed.
/// @param last [vocab]; @param early one a layer, [vocab] each; @param out [vocab].
/// @source Chuang et al. 2023; transformers 4.55.4 _dola_select_contrast, _relative_top_filter.
void dola_contrast(std::span<const float> last, const std::vector<std::span<const float>>& early,
                   std::vector<float>& out);

/// DoLa, greedy or sampling: SingleRow with contrasted logits.
class Dola : public Strategy {
 public:
  /// @param setup with dola_layers resolved, and the model. @throws ArgumentError as dola_candidates.
  explicit Dola(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override { return output_.finished(); }
  bool done() const override { return output_.done(); }
  void cancel(std::vector<StreamEvent>& events) override { output_.cancel(events); }
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override { return output_.take(); }

 private:
  /// The contrasted logits of the next token, into scores_.
  void contrast(const FeedOutput& output);
  int32_t choose(const logits::Scores& scores) const;

  RowSetup setup_;
  std::vector<int> layers_;
  logits::Chain chain_;
  RowOutput output_;
  CacheRow tokens_;
  std::optional<CacheRow> unconditional_;
  std::vector<float> scores_;
};

}  // namespace genkit::generate

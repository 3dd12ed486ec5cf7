#pragma once

#include <memory>
#include <vector>

#include "genkit/generate/single_row.h"

namespace genkit::generate {

/// Several sequences drawn from one prompt. The prompt is run once; the sequences are forks of its row of the
/// cache and from then on rows by themselves. The first draws what the row alone would.
/// @source transformers 5.23 generate() with do_sample and num_return_sequences.
class SampledSequences : public Strategy {
 public:
  /// Keys of one row's sequences lie so far apart; rows have smaller numbers.
  static constexpr uint64_t kKeyStride = uint64_t{1} << 32;

  /// @param setup with num_return_sequences resolved.
  /// @throws ArgumentError where the row's key is too large for keys of its sequences.
  explicit SampledSequences(RowSetup setup);

  std::vector<Feed> plan(cache::KvCache& cache) override;
  void advance(cache::KvCache& cache, std::span<const FeedOutput> outputs,
               std::vector<StreamEvent>& events) override;
  bool finished() const override;
  bool done() const override;
  void cancel(std::vector<StreamEvent>& events) override;
  void release(cache::KvCache& cache) override;
  GeneratedRow take() override;

 private:
  /// A row that ends gives its place in the cache back at once.
  void advance_row(size_t i, cache::KvCache& cache, std::span<const FeedOutput> outputs,
                   std::vector<StreamEvent>& events);

  std::vector<std::unique_ptr<SingleRow>> rows_;
  std::vector<size_t> feeds_;  ///< of each row at this step; 0: it has ended
  bool forked_ = false;
};

}  // namespace genkit::generate

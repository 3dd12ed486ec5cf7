#include <algorithm>
#include <numeric>
#include <random>

#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

/// The first `count` entries of torch.randperm(size) on the CPU: a Fisher-Yates shuffle by the 32-bit
/// Mersenne twister, which takes the lower half of its 64-bit seed.
std::vector<int32_t> first_of_randperm(int size, int count, uint64_t seed) {
  std::mt19937 generator(static_cast<uint32_t>(seed));
  std::vector<int32_t> ids(static_cast<size_t>(size));
  std::iota(ids.begin(), ids.end(), 0);
  for (int i = 0; i < std::min(count, size - 1); ++i) {
    std::swap(ids[i], ids[i + static_cast<int>(generator() % static_cast<uint32_t>(size - i))]);
  }
  ids.resize(static_cast<size_t>(count));
  return ids;
}

class LeftHashWatermark : public Processor {
 public:
  explicit LeftHashWatermark(const config::Watermark& options) : options_(options) {}
  std::string_view name() const override { return "WatermarkLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() < static_cast<size_t>(options_.context_width)) return;
    // In Python the product has no limit; modulo 2^64 - 1 it is this.
    const auto product = static_cast<unsigned __int128>(options_.hashing_key) *
                         static_cast<unsigned __int128>(static_cast<uint32_t>(context.ids.back()));
    const auto seed = static_cast<uint64_t>(product % 0xFFFFFFFFFFFFFFFFu);
    const int green = static_cast<int>(scores.vocab_size() * options_.greenlist_ratio);
    const auto bias = static_cast<float>(options_.bias);
    for (const int32_t id : first_of_randperm(scores.vocab_size(), green, seed)) scores.values()[id] += bias;
  }

 private:
  config::Watermark options_;
};

}  // namespace

ProcessorPtr watermark(const config::Watermark& options) {
  return std::make_unique<LeftHashWatermark>(options);
}

}  // namespace genkit::logits

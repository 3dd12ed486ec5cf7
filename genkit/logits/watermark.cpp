#include <algorithm>
#include <numeric>
#include <random>

#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

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

/// Whether `id` is among the first `count` entries of torch.randperm(size): follows that one entry through
/// the shuffle, without the others.
bool in_randperm(int32_t id, int size, int count, uint64_t seed) {
  std::mt19937 generator(static_cast<uint32_t>(seed));
  int32_t place = id;
  for (int i = 0; i < std::min(count, size - 1); ++i) {
    const int32_t other = i + static_cast<int32_t>(generator() % static_cast<uint32_t>(size - i));
    if (place == other) return true;  // it comes to i, and stays
    if (place == i) place = other;
  }
  return place < count;
}

/// A product of Python integers as a seed: modulo 2^64 - 1.
uint64_t as_seed(unsigned __int128 number) { return static_cast<uint64_t>(number % 0xFFFFFFFFFFFFFFFFu); }

class LeftHashWatermark : public Processor {
 public:
  explicit LeftHashWatermark(const config::Watermark& options) : options_(options) {}
  std::string_view name() const override { return "WatermarkLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() < static_cast<size_t>(options_.context_width)) return;
    const uint64_t seed = as_seed(static_cast<unsigned __int128>(options_.hashing_key) *
                                  static_cast<uint32_t>(context.ids.back()));
    const int green = static_cast<int>(scores.vocab_size() * options_.greenlist_ratio);
    const auto bias = static_cast<float>(options_.bias);
    for (const int32_t id : first_of_randperm(scores.vocab_size(), green, seed)) scores.values()[id] += bias;
  }

 private:
  config::Watermark options_;
};

class SelfHashWatermark : public Processor {
 public:
  explicit SelfHashWatermark(const config::Watermark& options)
      : options_(options), table_(first_of_randperm(kTable, kTable, options.hashing_key)) {}
  std::string_view name() const override { return "WatermarkLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() < static_cast<size_t>(options_.context_width)) return;
    const int green = static_cast<int>(scores.vocab_size() * options_.greenlist_ratio);
    const auto bias = static_cast<float>(options_.bias);
    constexpr int kCandidates = 40;  // as transformers: others are never favoured
    for (const auto& [id, score] : largest(scores.values(), kCandidates)) {
      if (in_randperm(id, scores.vocab_size(), green, seed(context.ids, id))) scores.values()[id] += bias;
    }
  }

 private:
  static constexpr int kTable = 1000003;

  uint64_t entry(int32_t id) const { return static_cast<uint64_t>(table_[id % kTable]) + 1; }
  /// Of the candidate and the context_width - 1 ids before it.
  uint64_t seed(std::span<const int32_t> ids, int32_t candidate) const {
    const uint64_t own = entry(candidate);
    int64_t least = static_cast<int64_t>(options_.hashing_key * own * own);  // wraps around, as in torch
    for (const int32_t id : ids.last(static_cast<size_t>(options_.context_width) - 1)) {
      least = std::min(least, static_cast<int64_t>(options_.hashing_key * entry(id) * own));
    }
    // Python's remainder by 2^64 - 1 is never negative.
    return least >= 0 ? static_cast<uint64_t>(least) : static_cast<uint64_t>(least) - 1;
  }

  config::Watermark options_;
  std::vector<int32_t> table_;  ///< a permutation of 0 .. kTable - 1
};

}  // namespace

ProcessorPtr watermark(const config::Watermark& options) {
  if (options.scheme == config::Watermark::Scheme::kSelfHash) {
    return std::make_unique<SelfHashWatermark>(options);
  }
  return std::make_unique<LeftHashWatermark>(options);
}

}  // namespace genkit::logits

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

/// What torch.randint(0, 2) draws on the CPU with that seed.
std::vector<uint8_t> random_bits(int count, uint64_t seed) {
  std::mt19937 generator(static_cast<uint32_t>(seed));
  std::vector<uint8_t> bits(static_cast<size_t>(count));
  for (uint8_t& bit : bits) bit = generator() & 1;
  return bits;
}

/// One step of the linear congruential generator that hashes ids and keys; wraps around.
uint64_t mix(uint64_t hash, uint64_t value) { return (hash + value) * 6364136223846793005u + 1; }

/// The remainder of the hash as a signed number, never negative.
size_t remainder(uint64_t hash, int size) {
  const int64_t rest = static_cast<int64_t>(hash) % size;
  return static_cast<size_t>(rest < 0 ? rest + size : rest);
}

class SynthIdWatermark : public Processor {
 public:
  SynthIdWatermark(const config::SynthId& options, int prompt_length)
      : options_(options),
        prompt_length_(prompt_length),
        table_(random_bits(options.sampling_table_size, options.sampling_table_seed)) {}
  std::string_view name() const override { return "SynthIDTextWatermarkLogitsProcessor"; }

  void apply(const Context& context, Scores& scores) const override {
    const auto ids = context.ids.subspan(std::min<size_t>(prompt_length_, context.ids.size()));
    if (skipped(ids.size())) return;
    const uint64_t hash = context_hash(ids);
    if (seen(ids, hash)) return;
    tournament(hash, scores);
  }

 private:
  bool skipped(size_t new_tokens) const {
    return options_.skip_first_ngram_calls && new_tokens + 1 < static_cast<size_t>(options_.ngram_len);
  }
  /// Of the ngram_len - 1 newest of these new tokens; zeros stand for what is before the first.
  uint64_t context_hash(std::span<const int32_t> ids) const {
    const size_t length = static_cast<size_t>(options_.ngram_len) - 1;
    uint64_t hash = 1;
    for (size_t i = 0; i < length; ++i) {
      const size_t missing = length - std::min(length, ids.size());
      hash = mix(hash, i < missing ? 0 : static_cast<uint64_t>(ids[ids.size() - length + i]));
    }
    return hash;
  }
  /// Whether one of the last watermarked steps had the same context. The history begins with zeros.
  bool seen(std::span<const int32_t> ids, uint64_t hash) const {
    const auto size = static_cast<size_t>(options_.context_history_size);
    size_t looked_at = 0;
    for (size_t before = ids.size(); before-- > 0 && looked_at < size && !skipped(before); ++looked_at) {
      if (context_hash(ids.first(before)) == hash) return true;
    }
    return looked_at < size && hash == 0;
  }
  /// One round a key: what its bit favours takes probability from the rest.
  void tournament(uint64_t hash, Scores& scores) const {
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return;
    std::vector<int32_t> ids;
    std::vector<uint64_t> hashes;
    std::vector<float> probs;
    scores.for_each([&](int32_t id, float score) {
      const auto p = static_cast<float>(std::exp(score - norm));
      if (!(p > 0)) return;
      ids.push_back(id);
      hashes.push_back(mix(hash, static_cast<uint64_t>(id)));
      probs.push_back(p);
    });
    std::vector<uint8_t> bits(ids.size());
    for (const int64_t key : options_.keys) {
      double mass = 0;
      for (size_t i = 0; i < ids.size(); ++i) {
        bits[i] = table_[remainder(mix(hashes[i], static_cast<uint64_t>(key)), options_.sampling_table_size)];
        if (bits[i]) mass += probs[i];
      }
      const auto left = static_cast<float>(1 - mass);
      for (size_t i = 0; i < ids.size(); ++i) probs[i] *= left + static_cast<float>(bits[i]);
    }
    // A probability of zero is the lowest number, not minus infinity, as in transformers.
    constexpr float kLowest = std::numeric_limits<float>::lowest();
    std::fill(scores.values().begin(), scores.values().end(), kLowest);
    for (size_t i = 0; i < ids.size(); ++i) {
      scores.values()[ids[i]] = probs[i] > 0 ? std::log(probs[i]) : kLowest;
    }
  }

  config::SynthId options_;
  int prompt_length_;
  std::vector<uint8_t> table_;
};

}  // namespace

ProcessorPtr synthid_watermark(const config::SynthId& options, int prompt_length) {
  return std::make_unique<SynthIdWatermark>(options, prompt_length);
}

}  // namespace genkit::logits

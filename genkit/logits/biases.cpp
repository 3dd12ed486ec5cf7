#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "genkit/base/error.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

/// Adds a bias to the last id of every sequence whose other ids end the context.
class SequenceBiases : public Processor {
 public:
  SequenceBiases(std::string_view name, std::map<std::vector<int32_t>, float> entries)
      : name_(name), entries_(std::move(entries)) {}
  std::string_view name() const override { return name_; }
  void apply(const Context& context, Scores& scores) const override {
    // Summed before they are added to the score, as transformers does: overlapping biases add up.
    std::map<int32_t, float> sums;
    for (const auto& [ids, bias] : entries_) {
      const size_t prefix = ids.size() - 1;
      if (prefix > context.ids.size()) continue;
      if (std::equal(ids.begin(), ids.end() - 1, context.ids.end() - static_cast<std::ptrdiff_t>(prefix))) {
        sums[ids.back()] += bias;
      }
    }
    for (const auto& [id, bias] : sums) scores.values()[id] += bias;
  }

 private:
  std::string_view name_;
  std::map<std::vector<int32_t>, float> entries_;
};

class Suppressed : public Processor {
 public:
  Suppressed(std::vector<int32_t> ids, int length) : ids_(std::move(ids)), length_(length) {}
  std::string_view name() const override {
    return length_ < 0 ? "SuppressTokensLogitsProcessor" : "SuppressTokensAtBeginLogitsProcessor";
  }
  void apply(const Context& context, Scores& scores) const override {
    if (length_ >= 0 && context.ids.size() != static_cast<size_t>(length_)) return;
    for (const int32_t id : ids_) {
      if (id < scores.vocab_size()) scores.values()[id] = kRemoved;
    }
  }

 private:
  std::vector<int32_t> ids_;
  int length_;  ///< of the context; negative: any
};

void check_ids(const char* option, const std::vector<int32_t>& ids, int vocab) {
  for (const int32_t id : ids) {
    if (id >= vocab) {
      throw ArgumentError(fmt::format("{}: id {} is outside the vocabulary of {}", option, id, vocab));
    }
  }
}

}  // namespace

ProcessorPtr sequence_bias(const std::vector<config::SequenceBias>& entries, int vocab) {
  std::map<std::vector<int32_t>, float> merged;
  for (const auto& entry : entries) {
    check_ids("sequence_bias", entry.ids, vocab);
    // A sequence named twice has its last bias: it is a key of a dictionary in transformers.
    merged[entry.ids] = static_cast<float>(entry.bias);
  }
  return std::make_unique<SequenceBiases>("SequenceBiasLogitsProcessor", std::move(merged));
}

ProcessorPtr logit_bias(const config::LogitBias& biases, int vocab) {
  std::map<std::vector<int32_t>, float> entries;
  for (const auto& [id, bias] : biases.by_id) {
    check_ids("logit_bias", {id}, vocab);
    entries[{id}] = static_cast<float>(bias);
  }
  return std::make_unique<SequenceBiases>("LogitBias", std::move(entries));
}

ProcessorPtr bad_words(const std::vector<std::vector<int32_t>>& words, const std::vector<int32_t>& eos,
                       int vocab) {
  std::map<std::vector<int32_t>, float> merged;
  for (const auto& word : words) {
    if (word.size() == 1 && std::find(eos.begin(), eos.end(), word[0]) != eos.end()) continue;
    check_ids("bad_words_ids", word, vocab);
    merged[word] = kRemoved;
  }
  return std::make_unique<SequenceBiases>("NoBadWordsLogitsProcessor", std::move(merged));
}

ProcessorPtr suppress_tokens(std::vector<int32_t> ids) {
  return std::make_unique<Suppressed>(std::move(ids), -1);
}

ProcessorPtr suppress_tokens_at(std::vector<int32_t> ids, int length) {
  return std::make_unique<Suppressed>(std::move(ids), length);
}

}  // namespace genkit::logits

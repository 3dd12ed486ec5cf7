#include <algorithm>
#include <map>

#include "genkit/logits/occurrences.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

void penalize(std::span<const int32_t> ids, float penalty, Scores& scores) {
  for (const auto& [id, count] : occurrences(ids)) {
    // The embedding may have more rows than the head has scores.
    if (id >= scores.vocab_size()) continue;
    float& score = scores.values()[static_cast<size_t>(id)];
    score = score < 0 ? score * penalty : score / penalty;
  }
}

class RepetitionPenalty : public Processor {
 public:
  RepetitionPenalty(double penalty, int ignored, int context_size)
      : penalty_(static_cast<float>(penalty)), ignored_(ignored), context_size_(context_size) {}
  std::string_view name() const override { return "RepetitionPenaltyLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    auto ids = context.ids.subspan(std::min<size_t>(ignored_, context.ids.size()));
    if (context_size_ > 0) ids = ids.last(std::min<size_t>(context_size_, ids.size()));
    penalize(ids, penalty_, scores);
  }

 private:
  float penalty_;
  int ignored_, context_size_;
};

class EncoderRepetitionPenalty : public Processor {
 public:
  EncoderRepetitionPenalty(double penalty, std::span<const int32_t> prompt)
      : penalty_(static_cast<float>(1 / penalty)), prompt_(prompt.begin(), prompt.end()) {}
  std::string_view name() const override { return "EncoderRepetitionPenaltyLogitsProcessor"; }
  void apply(const Context&, Scores& scores) const override { penalize(prompt_, penalty_, scores); }

 private:
  float penalty_;
  std::vector<int32_t> prompt_;
};

class NoRepeatNgram : public Processor {
 public:
  explicit NoRepeatNgram(int size) : size_(size) {}
  std::string_view name() const override { return "NoRepeatNGramLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    const auto ids = context.ids;
    const size_t size = static_cast<size_t>(size_);
    if (ids.size() < size) return;
    const auto suffix = ids.last(size - 1);
    for (size_t begin = 0; begin + size <= ids.size(); ++begin) {
      const int32_t last = ids[begin + size - 1];
      if (last >= scores.vocab_size()) continue;
      if (std::equal(suffix.begin(), suffix.end(), ids.begin() + begin)) scores.values()[last] = kRemoved;
    }
  }

 private:
  int size_;
};

class EncoderNoRepeatNgram : public Processor {
 public:
  EncoderNoRepeatNgram(int size, std::span<const int32_t> prompt) : size_(size) {
    for (size_t begin = 0; begin + size <= prompt.size(); ++begin) {
      const auto ngram = prompt.subspan(begin, size);
      followers_[{ngram.begin(), ngram.end() - 1}].push_back(ngram.back());
    }
  }
  std::string_view name() const override { return "EncoderNoRepeatNGramLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    const size_t prefix = static_cast<size_t>(size_) - 1;
    if (context.ids.size() < prefix) return;
    const auto suffix = context.ids.last(prefix);
    const auto found = followers_.find({suffix.begin(), suffix.end()});
    if (found == followers_.end()) return;
    for (const int32_t id : found->second) {
      if (id < scores.vocab_size()) scores.values()[id] = kRemoved;
    }
  }

 private:
  int size_;
  std::map<std::vector<int32_t>, std::vector<int32_t>> followers_;
};

class Diversity : public Processor {
 public:
  explicit Diversity(double penalty) : penalty_(penalty) {}
  std::string_view name() const override { return "HammingDiversityLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    std::map<int32_t, int> counts;
    for (const int32_t id : context.others) ++counts[id];
    for (const auto& [id, count] : counts) {
      if (id < 0 || id >= scores.vocab_size()) continue;  // the padding of a group that has ended
      scores.values()[static_cast<size_t>(id)] -= static_cast<float>(penalty_ * count);
    }
  }

 private:
  double penalty_;
};

}  // namespace

ProcessorPtr repetition_penalty(double penalty, int ignored, int context_size) {
  return std::make_unique<RepetitionPenalty>(penalty, ignored, context_size);
}

ProcessorPtr encoder_repetition_penalty(double penalty, std::span<const int32_t> prompt) {
  return std::make_unique<EncoderRepetitionPenalty>(penalty, prompt);
}

ProcessorPtr diversity(double penalty) { return std::make_unique<Diversity>(penalty); }

ProcessorPtr no_repeat_ngram(int size) { return std::make_unique<NoRepeatNgram>(size); }

ProcessorPtr encoder_no_repeat_ngram(int size, std::span<const int32_t> prompt) {
  return std::make_unique<EncoderNoRepeatNgram>(size, prompt);
}

}  // namespace genkit::logits

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "genkit/base/error.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

void check_id(const char* option, int32_t id, int vocab) {
  if (id < 0 || id >= vocab) {
    throw ArgumentError(fmt::format("{}: id {} is outside the vocabulary of {}", option, id, vocab));
  }
}

/// Leaves nothing but these ids, all with score 0.
void force(const std::vector<int32_t>& ids, Scores& scores) {
  std::fill(scores.values().begin(), scores.values().end(), kRemoved);
  for (const int32_t id : ids) scores.values()[id] = 0;
}

/// No EOS while the context is shorter than a length.
class EosBan : public Processor {
 public:
  EosBan(std::string_view name, size_t length, std::vector<int32_t> eos)
      : name_(name), length_(length), eos_(std::move(eos)) {}
  std::string_view name() const override { return name_; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() >= length_) return;
    for (const int32_t id : eos_) {
      if (id < scores.vocab_size()) scores.values()[id] = kRemoved;
    }
  }

 private:
  std::string_view name_;
  size_t length_;
  std::vector<int32_t> eos_;
};

/// One of a few ids, once, when the context has a length.
class Forced : public Processor {
 public:
  Forced(std::string_view name, size_t length, std::vector<int32_t> ids)
      : name_(name), length_(length), ids_(std::move(ids)) {}
  std::string_view name() const override { return name_; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() == length_) force(ids_, scores);
  }

 private:
  std::string_view name_;
  size_t length_;
  std::vector<int32_t> ids_;
};

class ForcedByPosition : public Processor {
 public:
  ForcedByPosition(std::map<size_t, int32_t> by_length) : by_length_(std::move(by_length)) {}
  std::string_view name() const override { return "ForceTokensLogitsProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    const auto found = by_length_.find(context.ids.size());
    if (found != by_length_.end()) force({found->second}, scores);
  }

 private:
  std::map<size_t, int32_t> by_length_;  ///< of the context
};

class ExponentialDecay : public Processor {
 public:
  ExponentialDecay(const config::LengthDecay& decay, int prompt_length, std::vector<int32_t> eos)
      : start_(static_cast<size_t>(decay.start) + static_cast<size_t>(prompt_length)),
        factor_(decay.factor),
        eos_(std::move(eos)) {}
  std::string_view name() const override { return "ExponentialDecayLengthPenalty"; }
  void apply(const Context& context, Scores& scores) const override {
    if (context.ids.size() <= start_) return;
    const auto growth =
        static_cast<float>(std::pow(factor_, static_cast<double>(context.ids.size() - start_)) - 1);
    for (const int32_t id : eos_) {
      float& score = scores.values()[id];
      // Of the absolute value, so that a negative score grows too; a removed one stays removed.
      if (std::isfinite(score)) score += std::fabs(score) * growth;
    }
  }

 private:
  size_t start_;
  double factor_;
  std::vector<int32_t> eos_;
};

}  // namespace

ProcessorPtr min_length(int length, std::vector<int32_t> eos) {
  return std::make_unique<EosBan>("MinLengthLogitsProcessor", length, std::move(eos));
}

ProcessorPtr min_new_tokens(int count, int prompt_length, std::vector<int32_t> eos) {
  const size_t length = static_cast<size_t>(count) + static_cast<size_t>(prompt_length);
  return std::make_unique<EosBan>("MinNewTokensLengthLogitsProcessor", length, std::move(eos));
}

ProcessorPtr forced_bos(int32_t id, int vocab) {
  check_id("forced_bos_token_id", id, vocab);
  return std::make_unique<Forced>("ForcedBOSTokenLogitsProcessor", 1, std::vector<int32_t>{id});
}

ProcessorPtr forced_eos(std::vector<int32_t> ids, int max_length, int vocab) {
  for (const int32_t id : ids) check_id("forced_eos_token_id", id, vocab);
  return std::make_unique<Forced>("ForcedEOSTokenLogitsProcessor", static_cast<size_t>(max_length) - 1,
                                  std::move(ids));
}

ProcessorPtr forced_tokens(const std::vector<config::ForcedToken>& tokens, int prompt_length, int vocab) {
  std::map<size_t, int32_t> by_length;
  for (const config::ForcedToken& token : tokens) {
    check_id("forced_decoder_ids", token.id, vocab);
    // A position named twice has its last id: it is a key of a dictionary in transformers.
    by_length[static_cast<size_t>(prompt_length) + static_cast<size_t>(token.position)] = token.id;
  }
  return std::make_unique<ForcedByPosition>(std::move(by_length));
}

ProcessorPtr exponential_decay(const config::LengthDecay& decay, int prompt_length, std::vector<int32_t> eos,
                               int vocab) {
  if (eos.empty()) throw ArgumentError("exponential_decay_length_penalty: needs an eos_token_id");
  for (const int32_t id : eos) check_id("eos_token_id", id, vocab);
  // An id named twice would grow twice.
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
  return std::make_unique<ExponentialDecay>(decay, prompt_length, std::move(eos));
}

}  // namespace genkit::logits

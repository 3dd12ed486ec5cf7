#include "genkit/logits/forced_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "genkit/base/error.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

bool begins_with(const std::vector<int32_t>& ids, std::span<const int32_t> begun) {
  return ids.size() >= begun.size() && std::equal(begun.begin(), begun.end(), ids.begin());
}

}  // namespace

WordProgress::WordProgress(const std::vector<config::ForcedWord>& words)
    : words_(&words), pending_(words.size()) {
  std::iota(pending_.begin(), pending_.end(), size_t{0});
}

size_t WordProgress::longest(size_t word) const {
  size_t out = 0;
  for (const auto& ids : (*words_)[word].alternatives) out = std::max(out, ids.size());
  return out;
}

size_t WordProgress::shortest(size_t word) const {
  size_t out = longest(word);
  for (const auto& ids : (*words_)[word].alternatives) out = std::min(out, ids.size());
  return out;
}

bool WordProgress::leads_on(size_t word, std::span<const int32_t> begun, int32_t id) const {
  const auto& alternatives = (*words_)[word].alternatives;
  return std::any_of(alternatives.begin(), alternatives.end(), [&](const auto& ids) {
    return ids.size() > begun.size() && begins_with(ids, begun) && ids[begun.size()] == id;
  });
}

void WordProgress::append_next(size_t word, std::span<const int32_t> begun, std::vector<int32_t>& out) const {
  const size_t first = out.size();
  for (const auto& ids : (*words_)[word].alternatives) {
    if (ids.size() <= begun.size() || !begins_with(ids, begun)) continue;
    const int32_t id = ids[begun.size()];
    if (std::find(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), id) == out.end())
      out.push_back(id);
  }
}

void WordProgress::step(size_t word, int32_t id) {
  current_ = word;
  begun_.push_back(id);
  const auto& alternatives = (*words_)[word].alternatives;
  if (std::find(alternatives.begin(), alternatives.end(), begun_) == alternatives.end()) return;
  ++done_;
  current_.reset();
  begun_.clear();
}

void WordProgress::add(int32_t id) {
  if (complete()) return;
  if (current_) {
    if (leads_on(*current_, begun_, id)) {
      step(*current_, id);
    } else {
      // As in transformers the token that breaks a word off does not begin another one.
      pending_.push_back(*current_);
      current_.reset();
      begun_.clear();
    }
    return;
  }
  const auto word =
      std::find_if(pending_.begin(), pending_.end(), [&](size_t w) { return leads_on(w, {}, id); });
  if (word == pending_.end()) return;
  const size_t chosen = *word;
  pending_.erase(word);
  step(chosen, id);
}

void WordProgress::add(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (complete()) return;
    add(id);
  }
}

std::vector<int32_t> WordProgress::next() const {
  std::vector<int32_t> out;
  if (current_) {
    append_next(*current_, begun_, out);
  } else {
    for (const size_t word : pending_) append_next(word, {}, out);
  }
  return out;
}

std::vector<int32_t> WordProgress::next_within(int room) const {
  std::vector<int32_t> out = next();
  std::erase_if(out, [&](int32_t id) {
    WordProgress after = *this;
    after.add(id);
    return after.missing() > room;
  });
  return out;
}

int WordProgress::bank() const {
  size_t most = 0;
  for (size_t word = 0; word < words_->size(); ++word) most = std::max(most, longest(word));
  const size_t begun = current_ ? most - (longest(*current_) - begun_.size()) : 0;
  return static_cast<int>(done_ * most + begun);
}

int WordProgress::missing() const {
  size_t out = 0;
  for (const size_t word : pending_) out += shortest(word);
  if (!current_) return static_cast<int>(out);
  size_t left = longest(*current_);
  for (const auto& ids : (*words_)[*current_].alternatives) {
    if (begins_with(ids, begun_)) left = std::min(left, ids.size() - begun_.size());
  }
  return static_cast<int>(out + left);
}

void check_words(const std::vector<config::ForcedWord>& words, const std::vector<int32_t>& eos, int vocab) {
  for (const config::ForcedWord& word : words) {
    for (const auto& ids : word.alternatives) {
      for (const int32_t id : ids) {
        if (id < 0 || id >= vocab) {
          throw ArgumentError(
              fmt::format("force_words_ids: id {} is outside the vocabulary of {}", id, vocab));
        }
        if (std::find(eos.begin(), eos.end(), id) != eos.end()) {
          throw ArgumentError(
              fmt::format("force_words_ids: id {} is an EOS id, and nothing can follow one", id));
        }
      }
    }
  }
}

void check_room(const WordProgress& start, int room) {
  if (start.missing() <= room) return;
  throw ArgumentError(
      fmt::format("force_words_ids: need {} new tokens, and there is room for {}", start.missing(), room));
}

namespace {

class ForcedWords : public Processor {
 public:
  ForcedWords(const std::vector<config::ForcedWord>& words, int prompt_length, int max_length)
      : words_(words), prompt_length_(static_cast<size_t>(prompt_length)), max_length_(max_length) {}
  std::string_view name() const override { return "ForcedWords"; }
  void apply(const Context& context, Scores& scores) const override {
    WordProgress progress(words_);
    progress.add(context.ids.subspan(std::min(prompt_length_, context.ids.size())));
    if (progress.complete()) return;
    const std::vector<int32_t> allowed =
        progress.next_within(max_length_ - static_cast<int>(context.ids.size()) - 1);
    const std::span<float> values = scores.values();
    std::vector<float> kept;
    for (const int32_t id : allowed) kept.push_back(values[static_cast<size_t>(id)]);
    std::fill(values.begin(), values.end(), kRemoved);
    // Where others have removed all of them (DoLa's contrast does), the words come all the same.
    const bool none = std::none_of(kept.begin(), kept.end(), [](float score) { return score > kRemoved; });
    for (size_t i = 0; i < allowed.size(); ++i) values[static_cast<size_t>(allowed[i])] = none ? 0 : kept[i];
  }

 private:
  std::vector<config::ForcedWord> words_;
  size_t prompt_length_;
  int max_length_;
};

}  // namespace

ProcessorPtr forced_words(const std::vector<config::ForcedWord>& words, const std::vector<int32_t>& eos,
                          int prompt_length, int max_length, int vocab) {
  check_words(words, eos, vocab);
  check_room(WordProgress(words), max_length - prompt_length);
  return std::make_unique<ForcedWords>(words, prompt_length, max_length);
}

}  // namespace genkit::logits

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "genkit/config/generation_config.h"

namespace genkit::logits {

/// How far a sequence has come with the words of `force_words_ids`: which it holds, which one it is in the
/// middle of, and which are still to come. One token takes at most one word forward; a token that breaks a
/// word off sends that word to the end of those that are to come. A few numbers: cheap to copy.
/// @source transformers 4.55.4 ConstraintListState, PhrasalConstraint, DisjunctiveConstraint.
class WordProgress {
 public:
  /// @param words must outlive every copy.
  explicit WordProgress(const std::vector<config::ForcedWord>& words);

  /// Reads the sequence's next token.
  void add(int32_t id);
  void add(std::span<const int32_t> ids);
  bool complete() const { return done_ == words_->size(); }
  /// The tokens that take it forward, in the order of the words; empty once it is complete.
  std::vector<int32_t> next() const;
  /// The same without those after which more than `room` tokens would be missing.
  std::vector<int32_t> next_within(int room) const;
  /// Grows with every token that takes it forward, by more for a word that has come to its end.
  int bank() const;
  /// The fewest tokens that complete it.
  int missing() const;

 private:
  size_t longest(size_t word) const;
  size_t shortest(size_t word) const;
  /// The alternatives of a word that begin with these ids.
  bool leads_on(size_t word, std::span<const int32_t> begun, int32_t id) const;
  void append_next(size_t word, std::span<const int32_t> begun, std::vector<int32_t>& out) const;
  void step(size_t word, int32_t id);

  const std::vector<config::ForcedWord>* words_;
  size_t done_ = 0;
  std::vector<size_t> pending_;    ///< that have not begun
  std::optional<size_t> current_;  ///< that has
  std::vector<int32_t> begun_;     ///< its ids so far
};

/// @throws ArgumentError naming force_words_ids for an id outside the vocabulary and one that ends a row.
void check_words(const std::vector<config::ForcedWord>& words, const std::vector<int32_t>& eos, int vocab);
/// @param room new tokens that there can be.
/// @throws ArgumentError naming force_words_ids where more are missing than there is room for.
void check_room(const WordProgress& start, int room);

}  // namespace genkit::logits

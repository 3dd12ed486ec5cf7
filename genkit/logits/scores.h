#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace genkit::logits {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

/// What a row has so far, as its processors see it.
struct Context {
  std::span<const int32_t> ids;  ///< the prompt with its padding, then the new tokens
  /// With groups of beams: what those of the earlier groups chose in this step.
  std::span<const int32_t> others = {};
};

/// One row's scores on their way through the chain. A vocabulary has 262,144 entries, and after
/// the first warper a few dozen are left: from then on only those are looked at.
class Scores {
 public:
  /// @param values [vocab] float32, changed in place; -inf stands for a removed token.
  explicit Scores(std::span<float> values) : values_(values) {}

  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  int vocab_size() const { return static_cast<int>(values_.size()); }

  /// Calls visit(id, score) for every id that may still be there, in ascending order.
  template <class Visit>
  void for_each(Visit visit) const {
    if (kept_) {
      for (const int32_t id : *kept_) visit(id, values_[id]);
    } else {
      for (int32_t id = 0; id < vocab_size(); ++id) visit(id, values_[id]);
    }
  }
  /// The same, to change scores.
  template <class Change>
  void transform(Change change) {
    if (kept_) {
      for (const int32_t id : *kept_) values_[id] = change(id, values_[id]);
    } else {
      for (int32_t id = 0; id < vocab_size(); ++id) values_[id] = change(id, values_[id]);
    }
  }
  /// Removes every id for which keep(id, score) is false.
  template <class Keep>
  void keep_if(Keep keep) {
    std::vector<int32_t> left;
    for_each([&](int32_t id, float score) {
      if (score > kRemoved && keep(id, score)) {
        left.push_back(id);
      } else {
        values_[id] = kRemoved;
      }
    });
    kept_ = std::move(left);
  }
  /// Removes every other id. @param ids ascending, none of them removed.
  void keep_only(std::vector<int32_t> ids) {
    std::vector<float> left;
    left.reserve(ids.size());
    for (const int32_t id : ids) left.push_back(values_[id]);
    if (kept_) {
      for (const int32_t id : *kept_) values_[id] = kRemoved;
    } else {
      std::fill(values_.begin(), values_.end(), kRemoved);
    }
    for (size_t i = 0; i < ids.size(); ++i) values_[ids[i]] = left[i];
    kept_ = std::move(ids);
  }
  /// Nothing is known to be removed.
  bool dense() const { return !kept_; }
  size_t count() const { return kept_ ? kept_->size() : values_.size(); }

 private:
  std::span<float> values_;
  std::optional<std::vector<int32_t>> kept_;
};

}  // namespace genkit::logits

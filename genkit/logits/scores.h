#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "genkit/kernels/sampling.h"

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

  /// To change scores: only until the next call of another function, which may remember what it has found.
  std::span<float> values() {
    changed();
    return values_;
  }
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
    changed();
    if (kept_) {
      for (const int32_t id : *kept_) values_[id] = change(id, values_[id]);
    } else {
      for (int32_t id = 0; id < vocab_size(); ++id) values_[id] = change(id, values_[id]);
    }
  }
  /// Removes every id for which keep(id, score) is false.
  template <class Keep>
  void keep_if(Keep keep) {
    changed();
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
    changed();
    if (kept_) {
      auto next = ids.begin();
      for (const int32_t id : *kept_) {
        if (next != ids.end() && *next == id) {
          ++next;
        } else {
          values_[id] = kRemoved;
        }
      }
    } else {
      auto done = values_.begin();
      for (const int32_t id : ids) {
        std::fill(done, values_.begin() + id, kRemoved);
        done = values_.begin() + id + 1;
      }
      std::fill(done, values_.end(), kRemoved);
    }
    // A kernel passes over a whole row faster than anything follows a long list.
    constexpr size_t kListed = 4096;
    if (kept_ || ids.size() <= std::max(kListed, values_.size() / 32)) kept_ = std::move(ids);
  }
  /// Nothing is known to be removed.
  bool dense() const { return !kept_; }
  size_t count() const { return kept_ ? kept_->size() : values_.size(); }

  /// Of all values, found at the first call after a change: each takes a pass over the vocabulary.
  const kernels::Maxima& maxima() const {
    if (!maxima_) maxima_ = std::make_shared<kernels::Maxima>(kernels::maxima(values_.data(), size()));
    return *maxima_;
  }
  /// The same; the largest value must be finite.
  const kernels::Moments& moments() const {
    if (!moments_) {
      moments_ = std::make_shared<kernels::Moments>(kernels::moments(values_.data(), size(), maxima().top));
    }
    return *moments_;
  }

 private:
  void changed() {
    maxima_.reset();
    moments_.reset();
  }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }

  std::span<float> values_;
  std::optional<std::vector<int32_t>> kept_;
  mutable std::shared_ptr<const kernels::Maxima> maxima_;
  mutable std::shared_ptr<const kernels::Moments> moments_;
};

}  // namespace genkit::logits

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// The tokens of one row and its slot in the cache: what the model has been fed, and what is next.
class CacheRow {
 public:
  /// @param border    @see models::Model::cache_border
  /// @param use_cache false: every feed is the whole row.
  CacheRow(std::vector<int32_t> tokens, std::optional<int> border, bool use_cache)
      : tokens_(std::move(tokens)),
        prompt_length_(static_cast<int>(tokens_.size())),
        rope_length_(prompt_length_),
        border_(border),
        use_cache_(use_cache) {}

  void push(int32_t id) { tokens_.push_back(id); }
  /// What the slot does not hold yet, and after it a draft, with the logits that decide about it; takes a
  /// slot where there is none. @param draft at most room_for_draft() tokens.
  Feed feed(cache::KvCache& cache, std::span<const int32_t> draft = {});
  /// How long a draft may be: no pass may go over the border.
  int room_for_draft() const;
  /// Takes what is left of a draft out of the slot: all but the row's own tokens before the last.
  void drop_draft(cache::KvCache& cache);
  /// Takes the last `count` tokens back, from the slot too where it holds them.
  void rewind(cache::KvCache& cache, size_t count);
  int length() const { return static_cast<int>(tokens_.size()); }
  void release(cache::KvCache& cache);
  /// A row that goes on from here by itself; of the cache nothing but last pages is copied.
  CacheRow fork(cache::KvCache& cache) const;

 private:
  std::vector<int32_t> tokens_;
  std::vector<int32_t> with_draft_;  ///< what the last feed of a draft ends with
  int prompt_length_;
  int rope_length_;
  std::optional<int> border_;
  bool use_cache_;
  int slot_ = -1;
};

}  // namespace genkit::generate

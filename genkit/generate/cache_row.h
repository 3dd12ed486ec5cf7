#pragma once

#include <cstdint>
#include <optional>
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
  /// What the slot does not hold yet; takes a slot where there is none.
  Feed feed(cache::KvCache& cache);
  void release(cache::KvCache& cache);
  /// A row that goes on from here by itself; of the cache nothing but last pages is copied.
  CacheRow fork(cache::KvCache& cache) const;

 private:
  std::vector<int32_t> tokens_;
  int prompt_length_;
  int rope_length_;
  std::optional<int> border_;
  bool use_cache_;
  int slot_ = -1;
};

}  // namespace genkit::generate

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/prefix_store.h"
#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// How a row's keys and values are kept.
struct CacheSettings {
  std::optional<int> border = {};  ///< @see models::Model::cache_border
  bool use_cache = true;           ///< false: every feed is the whole row
  ops::KvBound bound = {};         ///< max_kv_size and num_sink_tokens
  /// Where rows may begin from what others have left; null: nowhere. Null too where the logits or
  /// states of every token of the prompt are wanted.
  PrefixStore* prefixes = nullptr;
  bool keep = false;  ///< what is fed goes into `prefixes`: the prompt, and with keep() the whole row
  HookedRow hooked = {};
};

/// The tokens of one row and its slot in the cache: what the model has been fed, and what is next.
class CacheRow {
 public:
  CacheRow(std::vector<int32_t> tokens, const CacheSettings& settings)
      : tokens_(std::move(tokens)),
        prompt_length_(static_cast<int>(tokens_.size())),
        rope_length_(prompt_length_),
        settings_(settings) {}

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
  /// Leaves what the slot holds to later rows, where the settings say so. @see CacheSettings::keep
  void keep(cache::KvCache& cache);
  void release(cache::KvCache& cache);
  /// A row that goes on from here by itself; of the cache nothing but last pages is copied.
  CacheRow fork(cache::KvCache& cache) const;

 private:
  int open(cache::KvCache& cache);

  std::vector<int32_t> tokens_;
  std::vector<int32_t> with_draft_;  ///< what the last feed of a draft ends with
  int prompt_length_;
  int rope_length_;
  CacheSettings settings_;
  bool prompt_kept_ = false;
  uint64_t hook_revision_ = 0;  ///< when the slot was opened
  int slot_ = -1;
};

}  // namespace genkit::generate

#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/hooked_row.h"
#include "genkit/models/model.h"

namespace genkit::generate {

/// What a model was fed and the keys and values that it made of it.
struct KeptPrefix {
  std::vector<int32_t> tokens;  ///< one a position of `row`
  cache::KvRow row;
  int rope_length = 0;  ///< that the tokens were fed with, @see models::RowSpan
  /// What hooks did to the positions. Empty: nothing.
  std::vector<models::KvMark> marks = {};
};

struct PrefixLimits {
  size_t max_prefixes = 16;
  size_t max_bytes = SIZE_MAX;  ///< pages that prefixes share count once for each
};

/// Keys and values of rows that have run, for rows that begin with the same tokens: a conversation's
/// next turn, prompts behind one system message, a row that a file brought. A row that goes on from
/// a kept one gets the bits that it would have computed: what a sliding window, a bound or another
/// rotation makes unusable is left alone and computed anew, as is what hooks have done otherwise. Prefixes
/// share pages with each other and with the rows that go on from them. The least recently used are dropped
/// first. Not thread-safe; one session at a time.
class PrefixStore {
 public:
  /// @param model whose rows they are; must outlive the store.
  explicit PrefixStore(const models::Model& model, PrefixLimits limits = {});

  const models::Model& model() const { return model_; }

  /// A row that wants to begin.
  struct Wanted {
    std::span<const int32_t> tokens;
    ops::KvBound bound;
    int rope_length = 0;
    int most = 0;  ///< tokens that may be taken from a kept row; the others must be fed
    std::span<const models::KvMark> marks = {};  ///< what hooks do to the tokens; empty: nothing
  };
  /// Of how many tokens some kept row has the keys and values.
  int reusable(const Wanted& wanted) const;
  /// A slot of the cache that holds as many of the tokens as any kept row offers, or none of them.
  int open(cache::KvCache& cache, const Wanted& wanted);

  /// Keeps a row; kept ones that it makes superfluous are dropped.
  /// @throws ArgumentError where tokens, marks and positions are not as many.
  void put(KeptPrefix prefix);
  /// The one that was put or used last; null where there is none.
  const KeptPrefix* newest() const { return kept_.empty() ? nullptr : &kept_.front(); }

  void clear() { kept_.clear(); }
  size_t size() const { return kept_.size(); }
  size_t bytes() const;

 private:
  /// Leading tokens that a row may take from a kept one.
  int usable(const KeptPrefix& kept, const Wanted& wanted) const;
  void make_room();

  const models::Model& model_;
  PrefixLimits limits_;
  std::list<KeptPrefix> kept_;  ///< most recently used first
};

}  // namespace genkit::generate

#include "genkit/generate/cache_row.h"

namespace genkit::generate {

Feed CacheRow::feed(cache::KvCache& cache) {
  const int total = static_cast<int>(tokens_.size());
  // Past the border the keys that are held were rotated with the wrong frequencies: begin again.
  const bool crosses = border_ && rope_length_ <= *border_ && total > *border_;
  if (crosses) rope_length_ = total;
  if (crosses || !use_cache_) release(cache);
  if (slot_ < 0) slot_ = cache.add_row();
  return {.slot = slot_,
          .tokens = {tokens_.begin() + cache.length(slot_), tokens_.end()},
          .rope_length = rope_length_,
          .prompt_length = prompt_length_,
          .row_tokens = tokens_};
}

void CacheRow::release(cache::KvCache& cache) {
  if (slot_ >= 0) cache.remove_row(slot_);
  slot_ = -1;
}

CacheRow CacheRow::fork(cache::KvCache& cache) const {
  CacheRow copy(*this);
  copy.slot_ = slot_ >= 0 && use_cache_ ? cache.fork_row(slot_) : -1;
  return copy;
}

}  // namespace genkit::generate

#include "genkit/generate/cache_row.h"

#include <limits>

namespace genkit::generate {

Feed CacheRow::feed(cache::KvCache& cache, std::span<const int32_t> draft) {
  const int total = static_cast<int>(tokens_.size());
  // Past the border the keys that are held were rotated with the wrong frequencies: begin again.
  const bool crosses = border_ && rope_length_ <= *border_ && total > *border_;
  if (crosses) rope_length_ = total;
  if (crosses || !use_cache_) release(cache);
  if (slot_ < 0) slot_ = cache.add_row();
  Feed feed{.slot = slot_,
            .tokens = {tokens_.begin() + cache.length(slot_), tokens_.end()},
            .rope_length = rope_length_,
            .prompt_length = prompt_length_,
            .row_tokens = tokens_,
            .logits = 1 + static_cast<int>(draft.size())};
  if (draft.empty()) return feed;
  feed.tokens.insert(feed.tokens.end(), draft.begin(), draft.end());
  with_draft_ = tokens_;
  with_draft_.insert(with_draft_.end(), draft.begin(), draft.end());
  feed.row_tokens = with_draft_;
  return feed;
}

int CacheRow::room_for_draft() const {
  return border_ && length() <= *border_ ? *border_ - length() : std::numeric_limits<int>::max();
}

void CacheRow::drop_draft(cache::KvCache& cache) {
  if (slot_ >= 0 && cache.length(slot_) >= length()) cache.truncate(slot_, length() - 1);
}

void CacheRow::rewind(cache::KvCache& cache, size_t count) {
  tokens_.resize(tokens_.size() - count);
  if (slot_ >= 0 && cache.length(slot_) > length()) cache.truncate(slot_, length());
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

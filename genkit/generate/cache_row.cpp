#include "genkit/generate/cache_row.h"

#include <algorithm>
#include <limits>

namespace genkit::generate {

Feed CacheRow::feed(cache::KvCache& cache, std::span<const int32_t> draft) {
  const int total = static_cast<int>(tokens_.size());
  // Past the border the keys that are held were rotated with the wrong frequencies: begin again.
  const std::optional<int>& border = settings_.border;
  const bool crosses = border && rope_length_ <= *border && total > *border;
  if (total > prompt_length_ && !prompt_kept_) {
    // Windows will have dropped what a row needs that begins with this prompt and goes on otherwise.
    prompt_kept_ = true;
    keep(cache);
  }
  if (crosses) rope_length_ = total;
  if (crosses || !settings_.use_cache) release(cache);
  if (slot_ < 0) slot_ = open(cache);
  Feed feed{.slot = slot_,
            .tokens = {tokens_.begin() + cache.length(slot_), tokens_.end()},
            .rope_length = rope_length_,
            .prompt_length = prompt_length_,
            .row_tokens = tokens_,
            .has_prefix = settings_.hooked.has_prefix,
            .logits = 1 + static_cast<int>(draft.size())};
  if (draft.empty()) return feed;
  feed.tokens.insert(feed.tokens.end(), draft.begin(), draft.end());
  with_draft_ = tokens_;
  with_draft_.insert(with_draft_.end(), draft.begin(), draft.end());
  feed.row_tokens = with_draft_;
  return feed;
}

int CacheRow::room_for_draft() const {
  const std::optional<int>& border = settings_.border;
  return border && length() <= *border ? *border - length() : std::numeric_limits<int>::max();
}

void CacheRow::drop_draft(cache::KvCache& cache) {
  if (slot_ >= 0 && cache.length(slot_) >= length()) cache.truncate(slot_, length() - 1);
}

void CacheRow::rewind(cache::KvCache& cache, size_t count) {
  tokens_.resize(tokens_.size() - count);
  if (slot_ >= 0 && cache.length(slot_) > length()) cache.truncate(slot_, length());
}

int CacheRow::open(cache::KvCache& cache) {
  hook_revision_ = settings_.hooked.revision();
  if (!settings_.prefixes || !settings_.use_cache) return cache.add_row(settings_.bound);
  const KvMarks marks = settings_.hooked.marks(tokens_, prompt_length_);
  // The last token's logits are wanted, so that it is fed in any case.
  return settings_.prefixes->open(cache, {.tokens = tokens_,
                                          .bound = settings_.bound,
                                          .rope_length = rope_length_,
                                          .most = std::min(static_cast<int>(tokens_.size()) - 1, marks.known),
                                          .marks = marks.of});
}

void CacheRow::keep(cache::KvCache& cache) {
  if (!settings_.prefixes || !settings_.keep || !settings_.use_cache || slot_ < 0) return;
  // What a hook did before it was changed under way, nobody can tell.
  if (settings_.hooked.revision() != hook_revision_) return;
  KvMarks marks = settings_.hooked.marks(tokens_, prompt_length_);
  cache::KvRow row = cache.snapshot(slot_);
  const int own = std::min({row.length(), static_cast<int>(tokens_.size()), marks.known});
  if (!row.can_truncate(own)) return;
  row.truncate(own);  // what was fed of a draft and is not the row's
  if (!marks.of.empty()) marks.of.resize(static_cast<size_t>(own));
  settings_.prefixes->put(
      {{tokens_.begin(), tokens_.begin() + own}, std::move(row), rope_length_, std::move(marks.of)});
}

void CacheRow::release(cache::KvCache& cache) {
  if (slot_ >= 0) cache.remove_row(slot_);
  slot_ = -1;
}

CacheRow CacheRow::fork(cache::KvCache& cache) const {
  CacheRow copy(*this);
  copy.slot_ = slot_ >= 0 && settings_.use_cache ? cache.fork_row(slot_) : -1;
  return copy;
}

}  // namespace genkit::generate

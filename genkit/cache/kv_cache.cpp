#include "genkit/cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::cache {

bool KvRow::can_truncate(int length) const {
  return length >= 0 && length <= this->length() &&
         std::all_of(layers.begin(), layers.end(), [&](const auto& store) {
           return length == store->length() || store->can_truncate(length);
         });
}

void KvRow::truncate(int length) {
  if (length < 0 || length > this->length()) {
    throw ArgumentError(
        fmt::format("length: cannot cut a row of {} positions to {}", this->length(), length));
  }
  // All or nothing: no layer is cut before every layer is known to be able to.
  for (const auto& store : layers) {
    if (length == store->length() || store->can_truncate(length)) continue;
    const int window = store->shape().window;
    const std::string what = window > 0 ? fmt::format("sliding window of {}", window)
                                        : fmt::format("bound of {} positions", store->bound().max_size);
    throw ArgumentError(
        fmt::format("length: cannot go back to {}: a {} no longer holds position {}; set_slack() keeps more",
                    length, what, store->oldest_seen(length)));
  }
  for (const auto& store : layers) store->truncate(length);
}

KvRow KvRow::fork() const {
  KvRow copy;
  copy.bound = bound;
  for (const auto& store : layers) copy.layers.push_back(store->fork());
  return copy;
}

int KvCache::add_row(const ops::KvBound& bound) {
  KvRow row;
  row.bound = bound;
  for (ops::KvShape shape : layers_) {
    const bool slides = shape.window > 0;
    if (slides && bound.max_size > 0) shape.window = std::min(shape.window, bound.max_size);
    row.layers.push_back(std::make_shared<ops::KvStore>(shape, slides ? ops::KvBound{} : bound));
  }
  return place(std::move(row));
}

int KvCache::add_row(const KvRow& kept) {
  if (kept.layers.size() != layers_.size()) {
    throw ArgumentError(fmt::format("cache: a kept row of {} layers does not fit one of {}",
                                    kept.layers.size(), layers_.size()));
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const ops::KvShape& mine = layers_[layer];
    const ops::KvShape& theirs = kept.layers[layer]->shape();
    if (mine.kv_heads == theirs.kv_heads && mine.head_dim == theirs.head_dim &&
        mine.value_dim == theirs.value_dim && mine.type == theirs.type &&
        (mine.window > 0) == (theirs.window > 0)) {
      continue;
    }
    throw ArgumentError(fmt::format("cache: a kept row's layer {} has another shape", layer));
  }
  return place(kept.fork());
}

int KvCache::place(KvRow row) {
  for (auto& free : rows_) {
    if (free) continue;
    free = std::make_unique<KvRow>(std::move(row));
    return static_cast<int>(&free - rows_.data());
  }
  rows_.push_back(std::make_unique<KvRow>(std::move(row)));
  return static_cast<int>(rows_.size()) - 1;
}

KvRow& KvCache::row(int slot) const {
  if (slot < 0 || slot >= static_cast<int>(rows_.size()) || !rows_[slot]) {
    throw ArgumentError(fmt::format("slot: the cache has no row {}", slot));
  }
  return *rows_[slot];
}

void KvCache::remove_row(int slot) {
  row(slot);
  rows_[slot].reset();
}

int KvCache::fork_row(int slot) { return place(row(slot).fork()); }

int KvCache::length(int slot) const { return row(slot).length(); }

void KvCache::truncate(int slot, int length) { row(slot).truncate(length); }

void KvCache::trim(int slot) {
  for (const auto& store : row(slot).layers) store->trim(slack_);
}

const std::shared_ptr<ops::KvStore>& KvCache::store(int slot, int layer) const {
  const KvRow& r = row(slot);
  if (layer < 0 || layer >= num_layers()) {
    throw ArgumentError(fmt::format("layer: expected a number below {}, got {}", num_layers(), layer));
  }
  return r.layers[layer];
}

size_t KvCache::bytes() const {
  size_t sum = 0;
  for (const auto& r : rows_) {
    if (!r) continue;
    for (const auto& store : r->layers) sum += store->bytes();
  }
  return sum;
}

}  // namespace genkit::cache

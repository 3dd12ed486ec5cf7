#include "genkit/cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::cache {

int KvCache::add_row() {
  auto row = std::make_unique<Row>();
  for (const ops::KvShape& shape : layers_) row->stores.push_back(std::make_shared<ops::KvStore>(shape));
  return place(std::move(row));
}

int KvCache::place(std::unique_ptr<Row> row) {
  for (size_t slot = 0; slot < rows_.size(); ++slot) {
    if (rows_[slot]) continue;
    rows_[slot] = std::move(row);
    return static_cast<int>(slot);
  }
  rows_.push_back(std::move(row));
  return static_cast<int>(rows_.size()) - 1;
}

KvCache::Row& KvCache::row(int slot) const {
  if (slot < 0 || slot >= static_cast<int>(rows_.size()) || !rows_[slot]) {
    throw ArgumentError(fmt::format("slot: the cache has no row {}", slot));
  }
  return *rows_[slot];
}

void KvCache::remove_row(int slot) {
  row(slot);
  rows_[slot].reset();
}

int KvCache::fork_row(int slot) {
  auto copy = std::make_unique<Row>();
  for (const auto& store : row(slot).stores) copy->stores.push_back(store->fork());
  return place(std::move(copy));
}

int KvCache::length(int slot) const {
  const Row& r = row(slot);
  return r.stores.empty() ? 0 : r.stores.front()->length();
}

void KvCache::truncate(int slot, int length) {
  Row& r = row(slot);
  if (length < 0 || length > this->length(slot)) {
    throw ArgumentError(
        fmt::format("length: cannot cut a row of {} positions to {}", this->length(slot), length));
  }
  // All or nothing: no layer is cut before every layer is known to be able to.
  for (const auto& store : r.stores) {
    const int window = store->shape().window;
    const int needed = window > 0 ? std::max(0, length - window + 1) : 0;
    if (length < store->length() && store->first() > needed) {
      throw ArgumentError(
          fmt::format("length: cannot go back to {}: a sliding window of {} no longer holds position {}; "
                      "set_slack() keeps more",
                      length, window, needed));
    }
  }
  for (const auto& store : r.stores) store->truncate(length);
}

void KvCache::trim(int slot) {
  for (const auto& store : row(slot).stores) {
    if (store->shape().window > 0) store->trim(slack_);
  }
}

const std::shared_ptr<ops::KvStore>& KvCache::store(int slot, int layer) const {
  const Row& r = row(slot);
  if (layer < 0 || layer >= num_layers()) {
    throw ArgumentError(fmt::format("layer: expected a number below {}, got {}", num_layers(), layer));
  }
  return r.stores[layer];
}

size_t KvCache::bytes() const {
  size_t sum = 0;
  for (const auto& r : rows_) {
    if (!r) continue;
    for (const auto& store : r->stores) sum += store->bytes();
  }
  return sum;
}

}  // namespace genkit::cache

#include "genkit/generate/prefix_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::generate {
namespace {

size_t bytes_of(const KeptPrefix& kept) {
  size_t sum = kept.tokens.size() * sizeof(int32_t) + kept.marks.size() * sizeof(models::KvMark);
  for (const auto& layer : kept.row.layers) sum += layer->bytes();
  return sum;
}

}  // namespace

PrefixStore::PrefixStore(const models::Model& model, PrefixLimits limits) : model_(model), limits_(limits) {}

int PrefixStore::usable(const KeptPrefix& kept, const Wanted& wanted) const {
  if (kept.row.bound != wanted.bound) return 0;  // its queries saw other positions
  int length = std::min(wanted.most, common_length(kept.tokens, kept.marks, wanted.tokens, wanted.marks));
  length = model_.rotated_alike(kept.rope_length, wanted.rope_length, length);
  // What a window has dropped is gone; how far back a row can be cut has no gaps.
  if (length <= 0 || !kept.row.can_truncate(length)) return 0;
  return length;
}

int PrefixStore::reusable(const Wanted& wanted) const {
  int best = 0;
  for (const KeptPrefix& kept : kept_) best = std::max(best, usable(kept, wanted));
  return best;
}

int PrefixStore::open(cache::KvCache& cache, const Wanted& wanted) {
  int best = 0;
  auto from = kept_.end();
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    if (const int length = usable(*it, wanted); length > best) {
      best = length;
      from = it;
    }
  }
  if (best == 0) return cache.add_row(wanted.bound);
  kept_.splice(kept_.begin(), kept_, from);
  cache::KvRow row = from->row.fork();
  row.truncate(best);
  return cache.add_row(row);
}

void PrefixStore::put(KeptPrefix prefix) {
  if (static_cast<int>(prefix.tokens.size()) != prefix.row.length()) {
    throw ArgumentError(fmt::format("prefix: {} tokens for keys and values of {} positions",
                                    prefix.tokens.size(), prefix.row.length()));
  }
  if (!prefix.marks.empty() && prefix.marks.size() != prefix.tokens.size()) {
    throw ArgumentError(
        fmt::format("prefix: {} marks for {} tokens", prefix.marks.size(), prefix.tokens.size()));
  }
  if (prefix.tokens.empty()) return;
  // `a` offers whatever `b` does.
  const auto covers = [&](const KeptPrefix& a, const KeptPrefix& b) {
    return a.row.bound == b.row.bound &&
           model_.rotated_alike(a.rope_length, b.rope_length, b.row.length()) == b.row.length() &&
           common_length(a.tokens, a.marks, b.tokens, b.marks) == b.row.length() &&
           a.row.can_truncate(b.row.length()) &&
           std::equal(a.row.layers.begin(), a.row.layers.end(), b.row.layers.begin(),
                      [](const auto& x, const auto& y) { return x->first() <= y->first(); });
  };
  const auto covering =
      std::find_if(kept_.begin(), kept_.end(), [&](const KeptPrefix& kept) { return covers(kept, prefix); });
  if (covering != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, covering);
    return;
  }
  kept_.remove_if([&](const KeptPrefix& kept) { return covers(prefix, kept); });
  kept_.push_front(std::move(prefix));
  make_room();
}

void PrefixStore::make_room() {
  while (kept_.size() > std::max<size_t>(1, limits_.max_prefixes)) kept_.pop_back();
  while (kept_.size() > 1 && bytes() > limits_.max_bytes) kept_.pop_back();
}

size_t PrefixStore::bytes() const {
  size_t sum = 0;
  for (const KeptPrefix& kept : kept_) sum += bytes_of(kept);
  return sum;
}

}  // namespace genkit::generate

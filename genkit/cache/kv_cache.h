#pragma once

#include <memory>
#include <vector>

#include "genkit/ops/kv_store.h"

namespace genkit::cache {

/// The keys and values of one row in every layer, by themselves: kept while the row goes on, put into
/// a cache again, written to a file. Copies share their pages.
struct KvRow {
  std::vector<std::shared_ptr<ops::KvStore>> layers;
  ops::KvBound bound;

  int length() const { return layers.empty() ? 0 : layers.front()->length(); }
  /// Whether every layer still holds what a row cut to `length` needs to go on.
  bool can_truncate(int length) const;
  /// Forgets positions from `length` on. @throws ArgumentError, changing nothing, where it cannot.
  void truncate(int length);
  KvRow fork() const;
};

/// Keys and values of any number of rows, over all layers of a model. Rows come and go, each
/// with its own length; a row is named by the slot that add_row() returned.
class KvCache {
 public:
  explicit KvCache(std::vector<ops::KvShape> layers) : layers_(std::move(layers)) {}

  /// An empty row. @return its slot, the lowest free one.
  /// @param bound of the layers without a window; a sliding layer's window is at most max_size.
  int add_row(const ops::KvBound& bound = {});
  /// A row that goes on from a kept one; nothing but the last, unfilled pages is copied.
  /// @throws ArgumentError when its layers are not this cache's.
  int add_row(const KvRow& kept);
  /// What the row holds now, whatever becomes of it later.
  KvRow snapshot(int slot) const { return row(slot).fork(); }
  /// Frees the slot; later rows may take it. @throws ArgumentError when there is no such row.
  void remove_row(int slot);
  /// A new row with the same past; nothing but the last, unfilled pages is copied.
  int fork_row(int slot);
  /// Positions this row has been fed. The same in every layer.
  int length(int slot) const;
  /// Takes back the newest positions (rejected drafts). @throws ArgumentError past the window.
  void truncate(int slot, int length);
  /// Positions a sliding layer keeps beyond its window, so that truncate() can go back that far.
  void set_slack(int positions) { slack_ = positions; }

  /// Whether truncate() can.
  bool can_truncate(int slot, int length) const { return row(slot).can_truncate(length); }
  /// Drops what no later query of the row can see, slack kept. A forward pass does it for its rows.
  void trim(int slot);

  int num_layers() const { return static_cast<int>(layers_.size()); }
  const std::shared_ptr<ops::KvStore>& store(int slot, int layer) const;
  size_t bytes() const;

 private:
  KvRow& row(int slot) const;  ///< @throws ArgumentError when there is none
  int place(KvRow row);

  std::vector<ops::KvShape> layers_;
  std::vector<std::unique_ptr<KvRow>> rows_;  ///< null where a row has left
  int slack_ = 0;
};

}  // namespace genkit::cache

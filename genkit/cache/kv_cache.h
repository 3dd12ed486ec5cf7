#pragma once

#include <memory>
#include <vector>

#include "genkit/ops/kv_store.h"

namespace genkit::cache {

/// Keys and values of any number of rows, over all layers of a model. Rows come and go, each
/// with its own length; a row is named by the slot that add_row() returned.
class KvCache {
 public:
  explicit KvCache(std::vector<ops::KvShape> layers) : layers_(std::move(layers)) {}

  /// An empty row. @return its slot, the lowest free one.
  int add_row();
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

  /// Drops what no later query of the row can see, slack kept. A forward pass does it for its rows.
  void trim(int slot);

  int num_layers() const { return static_cast<int>(layers_.size()); }
  const std::shared_ptr<ops::KvStore>& store(int slot, int layer) const;
  size_t bytes() const;

 private:
  struct Row {
    std::vector<std::shared_ptr<ops::KvStore>> stores;
  };
  Row& row(int slot) const;  ///< @throws ArgumentError when there is none
  int place(std::unique_ptr<Row> row);

  std::vector<ops::KvShape> layers_;
  std::vector<std::unique_ptr<Row>> rows_;  ///< null where a row has left
  int slack_ = 0;
};

}  // namespace genkit::cache

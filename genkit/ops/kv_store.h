#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace genkit::ops {

/// Number type of cached keys and values.
enum class KvType : uint8_t { kF32, kF16, kBF16 };

struct KvShape {
  int kv_heads = 0;
  int head_dim = 0;   ///< of keys
  int value_dim = 0;  ///< of values
  int window = 0;     ///< the layer's sliding window; 0: everything is kept
  KvType type = KvType::kF32;
};

/// How many positions a row keeps where its layers would keep all of them. A query at position
/// p < max_size sees everything before it; one at p >= max_size sees the first `sinks` positions and
/// the newest max_size - sinks, its own among them. Positions stay absolute: nothing is rotated anew.
/// @source Xiao et al. 2023 (StreamingLLM); mlx-lm RotatingKVCache(max_size, keep) when it decodes.
struct KvBound {
  int max_size = 0;  ///< 0: no bound
  int sinks = 0;     ///< below max_size
  bool operator==(const KvBound&) const = default;
};

/// A fixed number of consecutive positions of one row in one layer:
/// keys [kv_heads, kPageTokens, head_dim] then values [kv_heads, kPageTokens, value_dim].
/// Shared by the rows that have these positions in common; written only while one row owns it.
class KvPage {
 public:
  static constexpr int kPageTokens = 64;
  explicit KvPage(const KvShape& shape);
  KvPage(const KvPage& other);
  KvPage& operator=(const KvPage&) = delete;
  ~KvPage();
  void* keys() { return keys_; }
  const void* keys() const { return keys_; }
  void* values() { return values_; }
  const void* values() const { return values_; }

 private:
  KvShape shape_;
  void* keys_ = nullptr;
  void* values_ = nullptr;
};

/// Keys and values of one row in one layer, in pages: growing copies nothing, forking copies no
/// more than the last page, and pages that a sliding window has left behind are dropped.
/// Positions [first(), length()) are held, and the bound's sinks. Not thread-safe: one forward pass at
/// a time.
class KvStore {
 public:
  /// @param bound of a layer without a window. @throws ArgumentError for a window and a bound
  ///              together, and for sinks that leave no room.
  explicit KvStore(const KvShape& shape, const KvBound& bound = {});

  const KvShape& shape() const { return shape_; }
  const KvBound& bound() const { return bound_; }
  int length() const { return length_; }  ///< positions ever appended, less those truncated
  int first() const { return first_; }    ///< where the newest positions that are held begin
  /// The oldest position that a query at `position` sees, the sinks aside.
  int oldest_seen(int position) const;
  /// Whether a query at `length`, and any after it, finds what it sees when the row is cut to there.
  bool can_truncate(int length) const;

  /// Makes room for `count` more positions, and owns the pages that they fall in.
  void reserve(int count);
  /// Writes keys [count, kv_heads, head_dim] and values [count, kv_heads, value_dim], fp32.
  void append(const float* keys, const float* values, int count);
  /// Forgets positions from `length` on. @throws ArgumentError when the window or the bound has
  /// already dropped what would be needed to go on from there.
  void truncate(int length);
  /// Writes positions [begin, end), all of them held, as append() takes them.
  void copy_out(int begin, int end, float* keys, float* values) const;
  /// Positions of the sinks that are held apart, as the newest ones begin after them.
  int sinks_apart() const { return std::min(bound_.sinks, first_); }
  /// For a store that is empty: as if positions before `first` had been appended and trimmed away.
  /// @param first a multiple of kPageTokens. @param keys, values of the first sinks_apart() positions.
  /// @throws ArgumentError.
  void begin_at(int first, const float* sink_keys, const float* sink_values);
  /// A row with the same past that goes its own way.
  std::shared_ptr<KvStore> fork() const;
  /// Drops pages no later query can see, keeping `slack` positions beyond the window for truncate().
  void trim(int slack);

  /// Page that holds `position`, one of the newest or of the sinks; positions of a page start at
  /// multiples of kPageTokens.
  const KvPage& page_at(int position) const {
    const int page = position / KvPage::kPageTokens;
    return page < first_page_ ? *sink_pages_[page] : *pages_[page - first_page_];
  }
  size_t bytes() const;

 private:
  KvShape shape_;
  KvBound bound_;
  std::vector<std::shared_ptr<KvPage>> pages_;
  std::vector<std::shared_ptr<KvPage>> sink_pages_;  ///< from page 0, of what pages_ has dropped
  int first_page_ = 0;
  int first_ = 0;
  int length_ = 0;
};

}  // namespace genkit::ops

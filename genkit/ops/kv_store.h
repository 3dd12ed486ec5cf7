#pragma once

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
/// Positions [first(), length()) are held. Not thread-safe: one forward pass at a time.
class KvStore {
 public:
  explicit KvStore(const KvShape& shape) : shape_(shape) {}

  const KvShape& shape() const { return shape_; }
  int length() const { return length_; }  ///< positions ever appended, less those truncated
  int first() const { return first_; }    ///< the oldest position still held

  /// Makes room for `count` more positions, and owns the pages that they fall in.
  void reserve(int count);
  /// Writes keys [count, kv_heads, head_dim] and values [count, kv_heads, value_dim], fp32.
  void append(const float* keys, const float* values, int count);
  /// Forgets positions from `length` on. @throws ArgumentError when the window has already
  /// dropped what would be needed to go on from there.
  void truncate(int length);
  /// A row with the same past that goes its own way.
  std::shared_ptr<KvStore> fork() const;
  /// Drops pages no later query can see, keeping `slack` positions beyond the window for truncate().
  void trim(int slack);

  /// Page that holds `position`; positions of a page start at multiples of kPageTokens.
  const KvPage& page_at(int position) const { return *pages_[position / KvPage::kPageTokens - first_page_]; }
  size_t bytes() const;

 private:
  KvShape shape_;
  std::vector<std::shared_ptr<KvPage>> pages_;
  int first_page_ = 0;
  int first_ = 0;
  int length_ = 0;
};

}  // namespace genkit::ops

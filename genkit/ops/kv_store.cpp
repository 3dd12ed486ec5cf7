#include "genkit/ops/kv_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "genkit/base/error.h"
#include "genkit/kernels/half.h"

namespace genkit::ops {
namespace {

constexpr std::align_val_t kAlignment{64};

size_t item_size(KvType type) { return type == KvType::kF32 ? 4 : 2; }
size_t key_bytes(const KvShape& s) {
  return item_size(s.type) * s.kv_heads * KvPage::kPageTokens * s.head_dim;
}
size_t value_bytes(const KvShape& s) {
  return item_size(s.type) * s.kv_heads * KvPage::kPageTokens * s.value_dim;
}

void store_numbers(KvType type, const float* from, int count, void* to, size_t offset) {
  switch (type) {
    case KvType::kF32:
      std::memcpy(static_cast<float*>(to) + offset, from, sizeof(float) * count);
      break;
    case KvType::kF16:
      for (int i = 0; i < count; ++i) static_cast<uint16_t*>(to)[offset + i] = float_to_half(from[i]);
      break;
    case KvType::kBF16:
      for (int i = 0; i < count; ++i) static_cast<uint16_t*>(to)[offset + i] = float_to_bfloat(from[i]);
      break;
  }
}

void load_numbers(KvType type, const void* from, size_t offset, int count, float* to) {
  switch (type) {
    case KvType::kF32:
      std::memcpy(to, static_cast<const float*>(from) + offset, sizeof(float) * count);
      break;
    case KvType::kF16:
      for (int i = 0; i < count; ++i) to[i] = half_to_float(static_cast<const uint16_t*>(from)[offset + i]);
      break;
    case KvType::kBF16:
      for (int i = 0; i < count; ++i) to[i] = bfloat_to_float(static_cast<const uint16_t*>(from)[offset + i]);
      break;
  }
}

}  // namespace

KvPage::KvPage(const KvShape& shape) : shape_(shape) {
  // One block, so that a page is one allocation; zeros, so that no lane ever reads a stray NaN.
  const size_t bytes = key_bytes(shape) + value_bytes(shape);
  keys_ = ::operator new(bytes, kAlignment);
  std::memset(keys_, 0, bytes);
  values_ = static_cast<char*>(keys_) + key_bytes(shape);
}

KvPage::KvPage(const KvPage& other) : KvPage(other.shape_) {
  std::memcpy(keys_, other.keys_, key_bytes(shape_) + value_bytes(shape_));
}

KvPage::~KvPage() { ::operator delete(keys_, kAlignment); }

KvStore::KvStore(const KvShape& shape, const KvBound& bound) : shape_(shape), bound_(bound) {
  if (bound.max_size == 0) return;
  if (shape.window > 0 || bound.sinks < 0 || bound.sinks >= bound.max_size) {
    throw ArgumentError(fmt::format("cache: a window of {} and a bound of {} with {} sinks are not possible",
                                    shape.window, bound.max_size, bound.sinks));
  }
}

int KvStore::oldest_seen(int position) const {
  if (shape_.window > 0) return std::max(0, position - shape_.window + 1);
  if (bound_.max_size > 0 && position >= bound_.max_size) {
    return position - (bound_.max_size - bound_.sinks) + 1;
  }
  return 0;
}

bool KvStore::can_truncate(int length) const {
  // A row that is cut to nothing begins anew.
  return length == 0 || first_ == 0 || first_ <= oldest_seen(length);
}

void KvStore::reserve(int count) {
  if (count <= 0) return;
  const int last_page = (length_ + count - 1) / KvPage::kPageTokens;
  const size_t partial = length_ / KvPage::kPageTokens - first_page_;
  if (length_ % KvPage::kPageTokens != 0 && pages_[partial].use_count() > 1)
    pages_[partial] = std::make_shared<KvPage>(*pages_[partial]);
  while (first_page_ + static_cast<int>(pages_.size()) <= last_page)
    pages_.push_back(std::make_shared<KvPage>(shape_));
}

void KvStore::append(const float* keys, const float* values, int count) {
  reserve(count);
  for (int i = 0; i < count; ++i, ++length_) {
    KvPage& page = *pages_[length_ / KvPage::kPageTokens - first_page_];
    const size_t slot = length_ % KvPage::kPageTokens;
    for (int h = 0; h < shape_.kv_heads; ++h) {
      const size_t row = size_t{static_cast<unsigned>(h)} * KvPage::kPageTokens + slot;
      store_numbers(shape_.type, keys, shape_.head_dim, page.keys(), row * shape_.head_dim);
      store_numbers(shape_.type, values, shape_.value_dim, page.values(), row * shape_.value_dim);
      keys += shape_.head_dim;
      values += shape_.value_dim;
    }
  }
}

void KvStore::copy_out(int begin, int end, float* keys, float* values) const {
  for (int position = begin; position < end; ++position) {
    const KvPage& page = page_at(position);
    for (int h = 0; h < shape_.kv_heads; ++h) {
      const size_t row =
          size_t{static_cast<unsigned>(h)} * KvPage::kPageTokens + position % KvPage::kPageTokens;
      load_numbers(shape_.type, page.keys(), row * shape_.head_dim, shape_.head_dim, keys);
      load_numbers(shape_.type, page.values(), row * shape_.value_dim, shape_.value_dim, values);
      keys += shape_.head_dim;
      values += shape_.value_dim;
    }
  }
}

void KvStore::begin_at(int first, const float* sink_keys, const float* sink_values) {
  if (length_ != 0 || first < 0 || first % KvPage::kPageTokens != 0 ||
      (first > 0 && shape_.window == 0 && bound_.max_size == 0)) {
    throw ArgumentError(fmt::format("cache: a row of {} positions cannot begin at {}", length_, first));
  }
  if (first == 0) return;
  KvStore sinks(KvShape{shape_.kv_heads, shape_.head_dim, shape_.value_dim, 0, shape_.type});
  sinks.append(sink_keys, sink_values, std::min(bound_.sinks, first));
  sink_pages_ = std::move(sinks.pages_);
  first_page_ = first / KvPage::kPageTokens;
  first_ = length_ = first;
}

void KvStore::truncate(int length) {
  if (length < 0 || length > length_)
    throw ArgumentError(
        fmt::format("cache: cannot be truncated to {} positions, it holds {}", length, length_));
  if (length == length_) return;
  if (!can_truncate(length))
    throw ArgumentError(
        fmt::format("cache: cannot go back to position {}: the {} of {} has dropped what came before {}",
                    length, shape_.window > 0 ? "sliding window" : "bound",
                    shape_.window > 0 ? shape_.window : bound_.max_size, first_));
  if (length == 0) {
    *this = KvStore(shape_, bound_);
    return;
  }
  length_ = length;
  const int pages = (length + KvPage::kPageTokens - 1) / KvPage::kPageTokens - first_page_;
  pages_.resize(std::max(0, pages));
}

std::shared_ptr<KvStore> KvStore::fork() const { return std::make_shared<KvStore>(*this); }

void KvStore::trim(int slack) {
  // What the query at length - slack needs, every later one has.
  const int keep = oldest_seen(std::max(0, length_ - std::max(0, slack)));
  if (keep <= first_) return;
  const int drop = std::min(keep / KvPage::kPageTokens - first_page_, static_cast<int>(pages_.size()));
  if (drop <= 0) return;
  const int sinks = (bound_.sinks + KvPage::kPageTokens - 1) / KvPage::kPageTokens;
  for (int page = first_page_; page < std::min(first_page_ + drop, sinks); ++page)
    sink_pages_.push_back(pages_[page - first_page_]);
  pages_.erase(pages_.begin(), pages_.begin() + drop);
  first_page_ += drop;
  first_ = first_page_ * KvPage::kPageTokens;
}

size_t KvStore::bytes() const {
  return (pages_.size() + sink_pages_.size()) * (key_bytes(shape_) + value_bytes(shape_));
}

}  // namespace genkit::ops

#include "genkit/nn/arena.h"

#include <algorithm>
#include <new>
#include <utility>

namespace genkit::nn {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

void Arena::Free::operator()(float* p) const { ::operator delete[](p, kAlignment); }

Buffer Arena::take(int64_t rows, int64_t width) {
  const size_t size = std::max<size_t>(16, static_cast<size_t>(rows) * static_cast<size_t>(width));
  Block* best = nullptr;  // the smallest that is large enough, else the largest
  for (Block& block : blocks_) {
    if (block.used) continue;
    const bool fits = block.size >= size;
    if (!best || (fits && (best->size < size || block.size < best->size)) ||
        (!fits && best->size < size && block.size > best->size))
      best = &block;
  }
  if (!best) best = &blocks_.emplace_back();
  if (best->size < size) {
    best->data.reset();
    best->size = 0;
    best->data.reset(static_cast<float*>(::operator new[](size * sizeof(float), kAlignment)));
    best->size = size;
  }
  best->used = true;
  Buffer buffer;
  buffer.arena_ = this;
  buffer.data_ = best->data.get();
  buffer.rows_ = rows;
  buffer.width_ = width;
  return buffer;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  arena_ = std::exchange(other.arena_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  rows_ = other.rows_;
  width_ = other.width_;
  return *this;
}

void Buffer::release() {
  if (!arena_) return;
  for (Arena::Block& block : arena_->blocks_) {
    if (block.data.get() == data_) block.used = false;
  }
  arena_ = nullptr;
}

}  // namespace genkit::nn

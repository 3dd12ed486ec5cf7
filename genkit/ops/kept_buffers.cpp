#include "genkit/ops/kept_buffers.h"

#include <list>
#include <mutex>

namespace genkit::ops {
namespace {

namespace alloc = mx::allocator;

constexpr size_t kLarge = size_t{8} << 20, kMost = 2;

struct Kept {
  alloc::Buffer buffer;
  size_t bytes;
};

class Shelf {
 public:
  // Lives until the process ends: arrays may outlive every other object.
  static Shelf& instance() {
    static Shelf* const shelf = new Shelf;
    return *shelf;
  }

  alloc::Data take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
      if (kept->bytes < bytes || kept->bytes / 2 > bytes) continue;
      const Kept found = *kept;
      kept_.erase(kept);
      return owned(found);
    }
    // Sizes have changed: what waits longest would only take up room.
    drop_to(kMost - 1);
    return owned({alloc::allocator().malloc(bytes), bytes});
  }

  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    size_t total = 0;
    for (const Kept& kept : kept_) total += kept.bytes;
    return total;
  }

 private:
  alloc::Data owned(Kept memory) {
    return {memory.buffer, [this, bytes = memory.bytes](alloc::Buffer buffer) { put({buffer, bytes}); }};
  }

  void put(Kept memory) {
    const std::lock_guard lock(mutex_);
    kept_.push_back(memory);
    drop_to(kMost);
  }

  void drop_to(size_t count) {
    while (kept_.size() > count) {
      alloc::allocator().free(kept_.front().buffer);
      kept_.pop_front();
    }
  }

  mutable std::mutex mutex_;
  std::list<Kept> kept_;  // the one that waits longest first
};

}  // namespace

mx::allocator::Data kept_malloc(size_t bytes) {
  return bytes < kLarge ? alloc::malloc(bytes) : Shelf::instance().take(bytes);
}

size_t kept_bytes() { return Shelf::instance().bytes(); }

}  // namespace genkit::ops

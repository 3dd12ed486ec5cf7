#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace genkit::nn {

class Buffer;

/// Memory for what a pass computes on its way, handed out again as soon as it is free: a pass
/// touches no more pages than it has buffers alive at a time. Used by one thread.
class Arena {
 public:
  /// fp32 [rows, width], not initialised.
  Buffer take(int64_t rows, int64_t width);

 private:
  friend class Buffer;
  struct Free {
    void operator()(float* p) const;
  };
  struct Block {
    std::unique_ptr<float[], Free> data;
    size_t size = 0;
    bool used = false;
  };
  std::vector<Block> blocks_;
};

/// Rows of fp32 numbers in an arena, given back when it goes.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }

  float* data() const { return data_; }
  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t size() const { return rows_ * width_; }

 private:
  friend class Arena;
  void release();
  Arena* arena_ = nullptr;
  float* data_ = nullptr;
  int64_t rows_ = 0, width_ = 0;
};

}  // namespace genkit::nn

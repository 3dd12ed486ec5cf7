#include "genkit/io/mapped_array.h"

#include <mlx/allocator.h>

#include <cstring>

namespace genkit::io {
namespace {

namespace mx = mlx::core;

// MLX's CPU build has no make_buffer, so its array(void*, ...) copies. But its buffers are plain
// memory with a size in front of it: a buffer that starts one size_t earlier is looked at in
// place. Whether the build at hand works like that is asked of it once.
bool buffers_have_a_size_in_front() {
  static const bool answer = [] {
    mx::allocator::Buffer buffer = mx::allocator::allocator().malloc(64);
    const auto* raw = static_cast<const char*>(buffer.raw_ptr());
    const auto* start = static_cast<const char*>(buffer.ptr());
    const bool in_front = raw == start + sizeof(size_t);
    mx::allocator::allocator().free(buffer);
    return in_front;
  }();
  return answer;
}

}  // namespace

mx::array mapped_array(const std::shared_ptr<const MappedFile>& file, const uint8_t* data,
                       const mx::Shape& shape, mx::Dtype dtype) {
  size_t bytes = dtype.size();
  for (const auto extent : shape) bytes *= size_t(extent);
  auto* address = const_cast<uint8_t*>(data);
  if (bytes == 0 || reinterpret_cast<uintptr_t>(data) % dtype.size() != 0) {
    mx::array copy(mx::allocator::malloc(bytes), shape, dtype);
    if (bytes != 0) std::memcpy(copy.data<uint8_t>(), data, bytes);
    return copy;
  }
  if (buffers_have_a_size_in_front()) {
    const mx::allocator::Buffer buffer(address - sizeof(size_t));
    return mx::array(mx::allocator::Data(buffer, [file](mx::allocator::Buffer) {}), shape, dtype);
  }
  return mx::array(address, shape, dtype, [file](void*) {});
}

}  // namespace genkit::io

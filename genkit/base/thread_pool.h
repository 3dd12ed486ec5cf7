#pragma once

#include <cstdint>
#include <type_traits>

namespace genkit {

/// Threads that kernels run on, the caller's included.
/// @param count 1 or more. @throws ArgumentError naming `threads` otherwise, or above 1024.
void set_num_threads(int count);
int num_threads();

/// Physical cores this process may use: its affinity, cut by its cgroup's CPU quota; at least 1.
int available_cores();

/// Numbers that one thread handles before it is worth waking another, where little is done to each.
constexpr int64_t kGrain = 16384;

namespace detail {
using ChunkFunction = void (*)(void* body, int64_t begin, int64_t end);
void parallel_chunks(int64_t count, int64_t grain, ChunkFunction run, void* body);
}  // namespace detail

/// Calls body(begin, end) on pieces of [0, count), each of `grain` items but the last, and returns
/// when all are done. Pieces begin at multiples of `grain` whatever the number of threads, so a
/// result that depends on the pieces alone is bit-identical on one thread and on many. Threads
/// take pieces as they become free: a core that is lost to another program delays one piece only.
///
/// May be called from several threads and from within a body; while the pool is taken, the
/// caller does its work alone. The first exception of a body is thrown again here.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  detail::parallel_chunks(
      count, grain, [](void* b, int64_t begin, int64_t end) { (*static_cast<Plain*>(b))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace genkit

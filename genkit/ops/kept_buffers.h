#pragma once

#include <mlx/allocator.h>

#include <cstddef>

namespace genkit::ops {

namespace mx = mlx::core;

/// Memory of at least `bytes` from MLX's CPU allocator. Large memory (8 MB and more: the logits of a batch
/// over a large vocabulary) comes back here when its array dies and serves the next of its size, since the C
/// library returns what exceeds 32 MB to the system, which clears and maps every page anew: a sixth of a step
/// at 32 rows of 262,144 logits. At most two buffers are kept; one that no request has fitted goes back. Safe
/// from any thread.
mx::allocator::Data kept_malloc(size_t bytes);

/// How many bytes wait to be used again.
size_t kept_bytes();

}  // namespace genkit::ops

#pragma once

#include <mlx/array.h>

#include <memory>

#include "genkit/io/mapped_file.h"

namespace genkit::io {

/// An array over bytes of a mapped file, which it keeps mapped. Nothing is copied where MLX can
/// look at foreign memory (its CPU build always, Metal at page borders); otherwise, and when the
/// bytes do not lie at a multiple of the dtype's size, MLX copies them once.
/// MLX never writes into such memory: buffers it does not own are not reused for results.
/// @param data inside the file and at least 8 bytes from its start, as many bytes as shape and
///             dtype need.
mlx::core::array mapped_array(const std::shared_ptr<const MappedFile>& file, const uint8_t* data,
                              const mlx::core::Shape& shape, mlx::core::Dtype dtype);

}  // namespace genkit::io

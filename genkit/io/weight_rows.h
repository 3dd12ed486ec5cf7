#pragma once

#include <vector>

#include "genkit/ops/weight.h"

namespace genkit::io {

// Rearrangements of weights by whole rows, which every format survives, quantised blocks too: a
// row's bytes move together. Results are evaluated and own their memory.

/// A weight of the dense array's dtype: float32, float16 or bfloat16; float64 becomes float32.
/// @throws FormatError naming `origin` for any other dtype.
ops::Weight dense_weight(const mlx::core::array& a, const std::string& origin);

/// @param order out' = in[order[i]]: for each row of the result, the row of `w` that it is.
/// @param w     [rows, in] or [rows].
ops::Weight permute_rows(const ops::Weight& w, const std::vector<int>& order);

/// Rows [begin, end) of a matrix, or of each matrix of a stack. @param w [..., rows, in] or [rows].
ops::Weight slice_rows(const ops::Weight& w, int begin, int end);

/// @param parts matrices of one shape and format. @return [parts, out, in].
/// @throws FormatError naming the first part that differs.
ops::Weight stack(const std::vector<ops::Weight>& parts);

/// The transpose of a dense matrix.
ops::Weight transpose(const ops::Weight& w);

/// Each number minus one, in fp32.
ops::Weight minus_one(const ops::Weight& w);

}  // namespace genkit::io

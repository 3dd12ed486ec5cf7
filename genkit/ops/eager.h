#pragma once

#include <vector>

#include "genkit/kernels/linear.h"
#include "genkit/ops/attention.h"
#include "genkit/ops/layers.h"
#include "genkit/ops/weight.h"

// For callers that run several kernels inside a node of their own. Not part of the library's
// interface.

namespace genkit::ops {

kernels::ActivationKind kind_of(Activation activation);

/// The kernels' name for what the weight's arithmetic means for its format.
kernels::Product product_of(const Weight& w);

/// Pointers to a weight whose arrays are evaluated and lie row after row.
kernels::WeightRows resident_rows(const Weight& w);

/// attention() at once, over fp32 rows as there. @param out [queries, heads, value_dim].
/// @throws ArgumentError when a row does not start where its store ends.
void attend(const std::vector<AttentionRow>& rows, const AttentionParams& params, const float* q,
            const float* k, const float* v, float* out);

}  // namespace genkit::ops

#pragma once

#include <cstdint>

// The router of a mixture of experts, and the sum of what the experts return.

namespace genkit::kernels {

struct RouteTask {
  const float* logits = nullptr;  ///< [tokens, experts]
  int64_t tokens = 0, experts = 0;
  int64_t choices = 0;     ///< up to `experts`
  bool normalize = false;  ///< the chosen probabilities are made to add up to 1
};
/// Softmax over a token's experts, then its most probable ones, largest first, ties by rising index.
/// @param chosen  [tokens, choices].
/// @param weights [tokens, choices] their probabilities.
void route(const RouteTask& task, int32_t* chosen, float* weights);
/// @param dweights [tokens, choices] gradient of `weights`. @param dlogits [tokens, experts].
void route_gradient(const RouteTask& task, const int32_t* chosen, const float* dweights, float* dlogits);

/// out[t] = sum over c, in order, of weights[t, c] * y[t, c]. @param y [tokens, choices, n].
void mix_experts(const float* y, const float* weights, int64_t tokens, int64_t choices, int64_t n,
                 float* out);
/// dy[t, c] = weights[t, c] * dout[t]; dweights[t, c] = y[t, c] . dout[t].
void mix_experts_gradient(const float* y, const float* weights, const float* dout, int64_t tokens,
                          int64_t choices, int64_t n, float* dy, float* dweights);

}  // namespace genkit::kernels

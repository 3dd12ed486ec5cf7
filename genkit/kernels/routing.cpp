#include "genkit/kernels/routing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

int64_t rows_of(int64_t n) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)); }

// Softmax of one row, sums in order.
void softmax(const float* x, int64_t n, float* out) {
  const float best = *std::max_element(x, x + n);
  float total = 0;
  for (int64_t i = 0; i < n; ++i) total += out[i] = std::exp(x[i] - best);
  for (int64_t i = 0; i < n; ++i) out[i] /= total;
}

}  // namespace

void route(const RouteTask& task, int32_t* chosen, float* weights) {
  const int64_t n = task.experts, k = task.choices;
  parallel_for(task.tokens, rows_of(8 * n), [&](int64_t begin, int64_t end) {
    std::vector<float> p(n);
    for (int64_t t = begin; t < end; ++t) {
      softmax(task.logits + t * n, n, p.data());
      float sum = 0;
      for (int64_t c = 0; c < k; ++c) {
        // A taken one is marked below every probability; a NaN is taken last.
        int64_t best = 0;
        for (int64_t i = 1; i < n; ++i) {
          if (p[i] > p[best] || std::isnan(p[best])) best = i;
        }
        chosen[t * k + c] = static_cast<int32_t>(best);
        sum += weights[t * k + c] = p[best];
        p[best] = -1.0f;
      }
      if (!task.normalize) continue;
      for (int64_t c = 0; c < k; ++c) weights[t * k + c] /= sum;
    }
  });
}

void route_gradient(const RouteTask& task, const int32_t* chosen, const float* dweights, float* dlogits) {
  const int64_t n = task.experts, k = task.choices;
  parallel_for(task.tokens, rows_of(8 * n), [&](int64_t begin, int64_t end) {
    std::vector<float> p(n), dp(n);
    for (int64_t t = begin; t < end; ++t) {
      softmax(task.logits + t * n, n, p.data());
      std::fill(dp.begin(), dp.end(), 0.0f);
      float sum = 0, dot = 0;
      for (int64_t c = 0; c < k; ++c) {
        const float probability = p[chosen[t * k + c]];
        sum += probability;
        dot += probability * dweights[t * k + c];
      }
      for (int64_t c = 0; c < k; ++c) {
        const float d = dweights[t * k + c];
        dp[chosen[t * k + c]] = task.normalize ? (d - dot / sum) / sum : d;
      }
      float inner = 0;
      for (int64_t i = 0; i < n; ++i) inner += p[i] * dp[i];
      for (int64_t i = 0; i < n; ++i) dlogits[t * n + i] = p[i] * (dp[i] - inner);
    }
  });
}

void mix_experts(const float* y, const float* weights, int64_t tokens, int64_t choices, int64_t n,
                 float* out) {
  parallel_for(tokens, rows_of(choices * n), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* to = out + t * n;
      std::fill(to, to + n, 0.0f);
      for (int64_t c = 0; c < choices; ++c) {
        const float w = weights[t * choices + c];
        const float* from = y + (t * choices + c) * n;
        for (int64_t i = 0; i < n; ++i) to[i] += w * from[i];
      }
    }
  });
}

void mix_experts_gradient(const float* y, const float* weights, const float* dout, int64_t tokens,
                          int64_t choices, int64_t n, float* dy, float* dweights) {
  parallel_for(tokens * choices, rows_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* d = dout + row / choices * n;
      float dot = 0;
      for (int64_t i = 0; i < n; ++i) {
        dy[row * n + i] = weights[row] * d[i];
        dot += y[row * n + i] * d[i];
      }
      dweights[row] = dot;
    }
  });
}

}  // namespace genkit::kernels

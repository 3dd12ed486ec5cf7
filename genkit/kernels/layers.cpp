#include "genkit/kernels/layers.h"

#include <algorithm>
#include <cmath>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/linear.h"

namespace genkit::kernels {
namespace {

// Numbers that one thread handles before it is worth waking another: some 10 us.
constexpr int64_t kGrain = 16384;
// The same where each costs an exponential.
constexpr int64_t kCostlyGrain = 4096;

int64_t rows_of(int64_t grain, int64_t n) { return std::max<int64_t>(1, grain / std::max<int64_t>(1, n)); }

}  // namespace

void rms_norm(const float* x, int64_t rows, int64_t n, const NormParams& p, float* out,
              const KernelTable& table) {
  parallel_for(rows, rows_of(kGrain, n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      table.rms_norm(x + r * n, n, p.weight, p.eps, p.offset, out + r * n);
  });
}

void layer_norm(const float* x, int64_t rows, int64_t n, const NormParams& p, float* out,
                const KernelTable& table) {
  parallel_for(rows, rows_of(kGrain, n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      table.layer_norm(x + r * n, n, p.weight, p.bias, p.eps, out + r * n);
  });
}

void residual_rms_norm(const float* residual, const float* y, int64_t rows, int64_t n, const NormParams* post,
                       const NormParams& norm, float* sum, float* normed, const KernelTable& table) {
  parallel_for(rows, rows_of(kGrain, n), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * n; at < end * n; at += n) {
      const float* added = y + at;
      if (post) {
        table.rms_norm(y + at, n, post->weight, post->eps, post->offset, sum + at);
        added = sum + at;
      }
      table.add(residual + at, added, n, sum + at);
      table.rms_norm(sum + at, n, norm.weight, norm.eps, norm.offset, normed + at);
    }
  });
}

void rope(const float* x, const RopeTask& t, float* out, const KernelTable& table) {
  parallel_for(t.tokens, rows_of(kGrain, t.heads * t.dim), [&](int64_t begin, int64_t end) {
    float* cosines = static_cast<float*>(scratch(sizeof(float) * 2 * t.half_dims));
    float* sines = cosines + t.half_dims;
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t i = 0; i < t.half_dims; ++i) {
        const float angle = static_cast<float>(t.positions[token]) * t.inv_freq[i];
        cosines[i] = std::cos(angle) * t.scaling;
        sines[i] = std::sin(angle) * t.scaling;
      }
      const int64_t at = token * t.heads * t.dim;
      table.rope(x + at, t.heads, t.dim, cosines, sines, t.half_dims, t.interleaved, out + at);
    }
  });
}

void activate(ActivationKind kind, const float* x, const float* up, int64_t n, float* out,
              const KernelTable& table) {
  parallel_for(n, kCostlyGrain, [&](int64_t begin, int64_t end) {
    table.activate(kind, x + begin, up ? up + begin : nullptr, end - begin, out + begin);
  });
}

void softcap(const float* x, int64_t n, float cap, float* out, const KernelTable& table) {
  parallel_for(n, kCostlyGrain,
               [&](int64_t begin, int64_t end) { table.softcap(x + begin, end - begin, cap, out + begin); });
}

}  // namespace genkit::kernels

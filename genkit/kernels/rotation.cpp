#include "genkit/kernels/rotation.h"

#include <algorithm>
#include <cmath>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

// Numbers that one thread handles before it is worth waking another.
constexpr int64_t kGrain = 16384;
// The same where each costs a sine and a cosine.
constexpr int64_t kCostlyGrain = 512;

}  // namespace

void rope_angles(const int32_t* positions, int64_t tokens, const float* inv_freq, int64_t half_dims,
                 float scaling, float* cosines, float* sines) {
  const int64_t grain = std::max<int64_t>(1, kCostlyGrain / std::max<int64_t>(1, half_dims));
  parallel_for(tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < half_dims; ++i) {
        const float angle = static_cast<float>(positions[t]) * inv_freq[i];
        cosines[t * half_dims + i] = std::cos(angle) * scaling;
        sines[t * half_dims + i] = std::sin(angle) * scaling;
      }
    }
  });
}

void rotate(const float* x, const Rotation& r, float* out, const KernelTable& table) {
  const int64_t width = r.heads * r.dim;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
  parallel_for(r.tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      table.rope(x + t * width, r.heads, r.dim, r.cosines + t * r.half_dims, r.sines + t * r.half_dims,
                 r.half_dims, r.interleaved, out + t * width);
    }
  });
}

}  // namespace genkit::kernels

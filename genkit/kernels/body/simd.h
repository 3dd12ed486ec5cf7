// The vectors that kernel bodies are written in: 16 floats or 32-bit integers, in however many
// registers the target has them. Every target adds, multiplies and reduces in the same order, so
// that those with a fused multiply-add give the same bits. Included once by each target's file
// inside its namespace; no other header may bring inline functions in here, or the linker could
// pick one compiled for instructions that the machine lacks.

#if defined(__AVX512F__)
#include "genkit/kernels/body/simd_avx512.h"
#elif defined(__AVX2__)
#include "genkit/kernels/body/simd_avx2.h"
#else
#include "genkit/kernels/body/simd_generic.h"
#endif

/// A number as a type, for unrolling by hand.
template <int kNumber>
struct IntTag {
  static constexpr int kValue = kNumber;
};

/// use(IntTag<0>()) .. use(IntTag<kCount - 1>()), unrolled before anything else, so that what they index by
/// their numbers can be registers.
template <int kCount, class Use, class... Numbers>
__attribute__((always_inline)) inline void for_each_of(const Use& use, Numbers... numbers) {
  if constexpr (sizeof...(Numbers) < kCount)
    for_each_of<kCount>(use, numbers..., IntTag<static_cast<int>(sizeof...(Numbers))>());
  else
    (use(numbers), ...);
}

/// Sum of the lanes: halves, quarters, then ((0 + 2) + (1 + 3)).
#if defined(__AVX2__)
inline float sum_of_four(__m128 q) {
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
inline float sum(V16 a) { return sum_of_four(quarter_sum(a)); }
/// The sums of four vectors at once, each as by sum().
inline void sums4(const V16* a, float* out) {
  const __m128 q0 = quarter_sum(a[0]), q1 = quarter_sum(a[1]), q2 = quarter_sum(a[2]), q3 = quarter_sum(a[3]);
  const __m128 lo = _mm_add_ps(_mm_movelh_ps(q0, q1), _mm_movehl_ps(q1, q0));
  const __m128 hi = _mm_add_ps(_mm_movelh_ps(q2, q3), _mm_movehl_ps(q3, q2));
  _mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps(lo, hi, 0x88), _mm_shuffle_ps(lo, hi, 0xdd)));
}
#else
inline float sum(V16 a) {
  float lanes[16], quarter[4];
  store(lanes, a);
  for (int i = 0; i < 4; ++i) quarter[i] = (lanes[i] + lanes[i + 8]) + (lanes[i + 4] + lanes[i + 12]);
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}
inline void sums4(const V16* a, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
}
#endif

#if defined(__AVX2__)
inline float largest(V16 a) {
  __m128 q = quarter_max(a);
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
#else
inline float largest(V16 a) {
  float lanes[16];
  store(lanes, a);
  float best = lanes[0];
  for (int i = 1; i < 16; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}
#endif

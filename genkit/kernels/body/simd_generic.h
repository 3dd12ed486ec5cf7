// 16 floats as the compiler's own vector type: the portable target, and NEON, whose four registers
// the compiler finds by itself. @see simd.h

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

struct V16 {
  Floats v;
};
struct I16 {
  Ints v;
};

inline V16 load(const float* p) {
  V16 x;
  __builtin_memcpy(&x, p, 64);
  return x;
}
inline V16 load_part(const float* p, int n) {
  float part[16] = {};
  __builtin_memcpy(part, p, sizeof(float) * n);
  return load(part);
}
inline void store(float* p, V16 x) { __builtin_memcpy(p, &x, 64); }
inline void store_part(float* p, V16 x, int n) { __builtin_memcpy(p, &x, sizeof(float) * n); }

inline float half(uint16_t h) {
#if defined(__aarch64__)
  __fp16 number;
  __builtin_memcpy(&number, &h, 2);
  return number;
#else
  // Shifted into a float's place a half is 2^112 times too small; infinities and NaNs need all
  // exponent bits set.
  uint32_t bits = uint32_t(h & 0x7fffu) << 13;
  float magnitude;
  __builtin_memcpy(&magnitude, &bits, 4);
  magnitude *= 5192296858534827628530496329220096.0f;
  __builtin_memcpy(&bits, &magnitude, 4);
  if ((h & 0x7c00u) == 0x7c00u) bits = 0x7f800000u | uint32_t(h & 0x3ffu) << 13;
  bits |= uint32_t(h & 0x8000u) << 16;
  float number;
  __builtin_memcpy(&number, &bits, 4);
  return number;
#endif
}
// The addresses of halves may be odd.
inline V16 load_half(const uint16_t* p) {
  uint16_t halves[16];
  __builtin_memcpy(halves, p, sizeof halves);
  V16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = half(halves[i]);
  return x;
}
inline V16 load_bfloat(const uint16_t* p) {
  uint16_t halves[16];
  __builtin_memcpy(halves, p, sizeof halves);
  uint32_t wide[16];
  for (int i = 0; i < 16; ++i) wide[i] = uint32_t(halves[i]) << 16;
  V16 x;
  __builtin_memcpy(&x, wide, 64);
  return x;
}
inline V16 load_u8(const uint8_t* p) {
  V16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = float(p[i]);
  return x;
}
inline V16 zero() { return {Floats{}}; }
inline V16 set1(float x) { return {Floats{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}}; }
inline V16 add(V16 a, V16 b) { return {a.v + b.v}; }
inline V16 sub(V16 a, V16 b) { return {a.v - b.v}; }
inline V16 mul(V16 a, V16 b) { return {a.v * b.v}; }
inline V16 div(V16 a, V16 b) { return {a.v / b.v}; }
inline V16 fma(V16 a, V16 b, V16 c) {
#if defined(__aarch64__)
  const float32x4_t *x = reinterpret_cast<const float32x4_t*>(&a),
                    *y = reinterpret_cast<const float32x4_t*>(&b);
  float32x4_t* z = reinterpret_cast<float32x4_t*>(&c);
  for (int i = 0; i < 4; ++i) z[i] = vfmaq_f32(z[i], x[i], y[i]);
  return c;
#else
  return {a.v * b.v + c.v};
#endif
}
inline V16 select_less(V16 a, V16 b, V16 yes, V16 no) { return {a.v < b.v ? yes.v : no.v}; }
inline uint32_t greater_mask(V16 a, V16 b) {
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= uint32_t(a.v[i] > b.v[i]) << i;
  return mask;
}
inline V16 min(V16 a, V16 b) { return select_less(a, b, a, b); }
inline V16 max(V16 a, V16 b) { return select_less(b, a, a, b); }
inline V16 abs(V16 a) {
  const Ints bits = reinterpret_cast<Ints>(a.v) & 0x7fffffff;
  return {reinterpret_cast<Floats>(bits)};
}
/// For |a| < 2^22: adding and taking away 1.5 * 2^23 leaves no bits below one.
inline V16 round(V16 a) {
#if defined(__aarch64__)
  float32x4_t* lanes = reinterpret_cast<float32x4_t*>(&a);
  for (int i = 0; i < 4; ++i) lanes[i] = vrndnq_f32(lanes[i]);
  return a;
#else
  Floats shifted = a.v + 12582912.0f;
  // Keeps a compiler that is told to be fast from seeing through it.
  asm volatile("" : "+m"(shifted));
  return {shifted - 12582912.0f};
#endif
}
inline V16 ldexp(V16 a, V16 n) {
  const Ints exponent = (__builtin_convertvector(n.v, Ints) + 127) << 23;
  return {a.v * reinterpret_cast<Floats>(exponent)};
}

inline V16 to_float(I16 a) { return {__builtin_convertvector(a.v, Floats)}; }
inline I16 set1_int(int32_t x) { return {Ints{} + x}; }
inline void store_int8(int8_t* p, V16 a) {
  const V16 whole = round(a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(whole.v[i]);
}

/// @see simd_avx512.h
using Bytes = uint8_t __attribute__((vector_size(64)));
struct Codes {
  Bytes v;
};
inline Codes load_codes(const uint8_t* p) {
  Codes c;
  __builtin_memcpy(&c, p, 64);
  return c;
}
inline void store_codes(uint8_t* p, Codes c) { __builtin_memcpy(p, &c, 64); }
inline Codes less(Codes c, int zero) { return {c.v - uint8_t(zero)}; }
inline Codes low_nibbles(Codes c) { return {c.v & 15}; }
inline Codes high_nibbles(Codes c) { return {c.v >> 4}; }
template <int kBit>
inline Codes with_fifth(Codes nibbles, Codes bits) {
  return {nibbles.v | ((bits.v >> kBit & 1) << 4)};
}

template <int kPair>
inline Codes with_two_more(Codes nibbles, Codes bits) {
  return {nibbles.v | ((bits.v >> 2 * kPair & 3) << 4)};
}

template <bool kNarrow>
inline I16 dot4(I16 acc, Codes w, const int8_t* x) {
#if defined(__ARM_FEATURE_DOTPROD)
  int32x4_t* lanes = reinterpret_cast<int32x4_t*>(&acc);
  const int8x16_t* codes = reinterpret_cast<const int8x16_t*>(&w);
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const int8x16_t xs = vreinterpretq_s8_s32(vdupq_n_s32(four));
  for (int i = 0; i < 4; ++i) lanes[i] = vdotq_s32(lanes[i], codes[i], xs);
#else
  for (int i = 0; i < 16; ++i) {
    const int8_t* four = reinterpret_cast<const int8_t*>(&w) + 4 * i;
    acc.v[i] += four[0] * x[0] + four[1] * x[1] + four[2] * x[2] + four[3] * x[3];
  }
#endif
  return acc;
}

inline void interleave(const uint8_t* rows, int64_t stride, uint8_t flip, uint8_t* out) {
  for (int r = 0; r < 16; ++r) {
    for (int j = 0; j < 16; ++j) {
      for (int b = 0; b < 4; ++b) out[64 * j + 4 * r + b] = uint8_t(rows[r * stride + 4 * j + b] + flip);
    }
  }
}

#if defined(__aarch64__)
constexpr int kMr = 2, kNr = 3;  // accumulators of the fp32 kernel: 24 of 32 registers
#else
constexpr int kMr = 1, kNr = 2;
#endif
constexpr int kPanel = 2;
constexpr bool kUnsignedCodes = false, kPairSums = false;

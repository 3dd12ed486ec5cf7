// 16 floats in one register. @see simd.h

struct V16 {
  __m512 v;
};
struct I16 {
  __m512i v;
};

inline V16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline V16 load_part(const float* p, int n) { return {_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p)}; }
inline void store(float* p, V16 a) { _mm512_storeu_ps(p, a.v); }
inline void store_part(float* p, V16 a, int n) { _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), a.v); }
inline V16 load_half(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline V16 load_bfloat(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
inline V16 load_u8(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline V16 zero() { return {_mm512_setzero_ps()}; }
inline V16 set1(float x) { return {_mm512_set1_ps(x)}; }
inline V16 add(V16 a, V16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline V16 sub(V16 a, V16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline V16 mul(V16 a, V16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline V16 div(V16 a, V16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline V16 fma(V16 a, V16 b, V16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline V16 min(V16 a, V16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline V16 max(V16 a, V16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline V16 abs(V16 a) { return {_mm512_abs_ps(a.v)}; }
/// To the nearest whole number, ties to even.
inline V16 round(V16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
/// where(a < b, yes, no), lane by lane.
inline V16 select_less(V16 a, V16 b, V16 yes, V16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
/// Bit i: a_i > b_i.
inline uint32_t greater_mask(V16 a, V16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
/// a * 2^n for whole n in [-126, 127].
inline V16 ldexp(V16 a, V16 n) {
  const __m512i exponent =
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
  return {_mm512_mul_ps(a.v, _mm512_castsi512_ps(exponent))};
}
inline __m128 quarter_sum(V16 a) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
inline __m128 quarter_max(V16 a) {
  const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
/// The sums of sixteen vectors at once, each as by sum().
inline void sums16(const V16* a, float* out) {
  __m512 h[8], q[4], e[2];
  for (int i = 0; i < 8; ++i) {
    const __m512 x = a[2 * i].v, y = a[2 * i + 1].v;
    h[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 x = h[2 * i], y = h[2 * i + 1];
    q[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  }
  // Lane 4 l + i of q[j]: part i of the four that vector 4 j + l has left.
  for (int i = 0; i < 2; ++i) {
    const __m512d x = _mm512_castps_pd(q[2 * i]), y = _mm512_castps_pd(q[2 * i + 1]);
    e[i] =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(e[0], e[1], 0x88), _mm512_shuffle_ps(e[0], e[1], 0xdd));
  // Lane 4 l + j: the sum of vector 4 j + l.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, all));
}

inline V16 to_float(I16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I16 set1_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
/// Rounds to the nearest integer (ties to even) and stores as bytes; every |a| < 128.
inline void store_int8(int8_t* p, V16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

/// 64 codes of weights: four of each of 16 rows.
struct Codes {
  __m512i v;
};
inline Codes load_codes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store_codes(uint8_t* p, Codes c) { _mm512_storeu_si512(p, c.v); }
/// Of every byte, modulo 256.
inline Codes less(Codes c, int zero) {
  return {_mm512_sub_epi8(c.v, _mm512_set1_epi8(static_cast<char>(zero)))};
}
/// Of every byte the lower, the upper four bits.
inline Codes low_nibbles(Codes c) { return {_mm512_and_si512(c.v, _mm512_set1_epi8(15))}; }
inline Codes high_nibbles(Codes c) {
  return {_mm512_and_si512(_mm512_srli_epi16(c.v, 4), _mm512_set1_epi8(15))};
}
/// `nibbles`, and 16 more where bit kBit of a byte of `bits` is set.
template <int kBit>
inline Codes with_fifth(Codes nibbles, Codes bits) {
  const __m512i moved =
      kBit < 4 ? _mm512_slli_epi16(bits.v, 4 - kBit % 4) : _mm512_srli_epi16(bits.v, kBit % 4);
  // nibbles | (moved & 16)
  return {_mm512_ternarylogic_epi32(nibbles.v, moved, _mm512_set1_epi8(16), 0xf8)};
}

/// `nibbles`, with bits 2 kPair and 2 kPair + 1 of every byte of `bits` above them.
template <int kPair>
inline Codes with_two_more(Codes nibbles, Codes bits) {
  const __m512i moved =
      kPair < 2 ? _mm512_slli_epi16(bits.v, 4 - 2 * (kPair % 2)) : _mm512_srli_epi16(bits.v, 2 * (kPair % 2));
  // nibbles | (moved & 48)
  return {_mm512_ternarylogic_epi32(nibbles.v, moved, _mm512_set1_epi8(48), 0xf8)};
}

inline __m512i four_codes(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return _mm512_set1_epi32(four);
}
/// Lane i: acc + sum of the four products of bytes 4i..4i+3 of `w` with the four bytes of `x`.
template <bool kNarrow>
inline I16 dot4(I16 acc, Codes w, const int8_t* x) {
  const __m512i xs = four_codes(x);
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(acc.v, w.v, xs)};
#else
  __m512i pairs;
  if constexpr (kNarrow) {
    pairs = _mm512_maddubs_epi16(w.v, xs);
  } else {
    const __mmask64 negative = _mm512_movepi8_mask(w.v);
    pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w.v),
                                 _mm512_mask_sub_epi8(xs, negative, _mm512_setzero_si512(), xs));
  }
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#endif
}

/// @see simd_avx2.h
inline I16 add_pairs(I16 acc, Codes w, const int8_t* x) {
  return {_mm512_add_epi16(acc.v, _mm512_maddubs_epi16(w.v, four_codes(x)))};
}
inline I16 add_widened(I16 acc, I16 pairs) {
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(pairs.v, _mm512_set1_epi16(1)))};
}

/// Sixteen rows of 64 bytes, `stride` apart, to 16 x 64 bytes where row r's four bytes 4j..4j+3
/// stand at 64 j + 4 r. `flip` is added to every byte modulo 256.
inline void interleave(const uint8_t* rows, int64_t stride, uint8_t flip, uint8_t* out) {
  __m512i r[16], t[16];
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (int i = 0; i < 16; ++i) r[i] = _mm512_add_epi8(_mm512_loadu_si512(rows + i * stride), flips);
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  // r[4 i + c] holds, in its 128-bit lane l, column 4 l + c of rows 4 i .. 4 i + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44),
                  b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xee);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44),
                  e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xee);
    _mm512_storeu_si512(out + 64 * (c), _mm512_shuffle_i32x4(a, d, 0x88));
    _mm512_storeu_si512(out + 64 * (4 + c), _mm512_shuffle_i32x4(a, d, 0xdd));
    _mm512_storeu_si512(out + 64 * (8 + c), _mm512_shuffle_i32x4(b, e, 0x88));
    _mm512_storeu_si512(out + 64 * (12 + c), _mm512_shuffle_i32x4(b, e, 0xdd));
  }
}

inline float half(uint16_t h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

constexpr int kMr = 6, kNr = 4;  // accumulators of the fp32 kernel: 24 of 32 registers
constexpr int kPanel = 8;        // rows of activations of the int8 kernel
#if defined(__AVX512VNNI__)
constexpr bool kUnsignedCodes = true, kPairSums = false;
#else
constexpr bool kUnsignedCodes = false, kPairSums = true;
#endif

// 16 floats in two registers. @see simd.h

struct V16 {
  __m256 a, b;
};
struct I16 {
  __m256i a, b;
};

inline __m256i part_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline V16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline V16 load_part(const float* p, int n) {
  return {_mm256_maskload_ps(p, part_mask(n)),
          n > 8 ? _mm256_maskload_ps(p + 8, part_mask(n - 8)) : _mm256_setzero_ps()};
}
inline void store(float* p, V16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline void store_part(float* p, V16 x, int n) {
  _mm256_maskstore_ps(p, part_mask(n), x.a);
  if (n > 8) _mm256_maskstore_ps(p + 8, part_mask(n - 8), x.b);
}
inline V16 load_half(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline __m256 bfloat8(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline V16 load_bfloat(const uint16_t* p) { return {bfloat8(p), bfloat8(p + 8)}; }
inline __m256 bytes8(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline V16 load_u8(const uint8_t* p) { return {bytes8(p), bytes8(p + 8)}; }
inline V16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline V16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline V16 add(V16 x, V16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline V16 sub(V16 x, V16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline V16 mul(V16 x, V16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline V16 div(V16 x, V16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline V16 fma(V16 x, V16 y, V16 c) {
  return {_mm256_fmadd_ps(x.a, y.a, c.a), _mm256_fmadd_ps(x.b, y.b, c.b)};
}
inline V16 min(V16 x, V16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline V16 max(V16 x, V16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline V16 abs(V16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline V16 round(V16 x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline V16 select_less(V16 x, V16 y, V16 yes, V16 no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
inline uint32_t greater_mask(V16 x, V16 y) {
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ))) |
         uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))) << 8;
}
inline __m256 ldexp8(__m256 x, __m256 n) {
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}
inline V16 ldexp(V16 x, V16 n) { return {ldexp8(x.a, n.a), ldexp8(x.b, n.b)}; }
inline __m128 quarter_sum(V16 x) {
  const __m256 half = _mm256_add_ps(x.a, x.b);
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
inline __m128 quarter_max(V16 x) {
  const __m256 half = _mm256_max_ps(x.a, x.b);
  return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

inline V16 to_float(I16 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I16 set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline void store_int8(int8_t* p, V16 x) {
  const __m256i words =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

/// @see simd_avx512.h
struct Codes {
  __m256i a, b;
};
inline Codes load_codes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline void store_codes(uint8_t* p, Codes c) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), c.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), c.b);
}
inline Codes less(Codes c, int zero) {
  const __m256i z = _mm256_set1_epi8(static_cast<char>(zero));
  return {_mm256_sub_epi8(c.a, z), _mm256_sub_epi8(c.b, z)};
}
inline Codes low_nibbles(Codes c) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(c.a, mask), _mm256_and_si256(c.b, mask)};
}
inline Codes high_nibbles(Codes c) {
  return low_nibbles({_mm256_srli_epi16(c.a, 4), _mm256_srli_epi16(c.b, 4)});
}
template <int kBit>
inline __m256i fifth_bits(__m256i bits) {
  const __m256i moved = kBit < 4 ? _mm256_slli_epi16(bits, 4 - kBit % 4) : _mm256_srli_epi16(bits, kBit % 4);
  return _mm256_and_si256(moved, _mm256_set1_epi8(16));
}
template <int kBit>
inline Codes with_fifth(Codes nibbles, Codes bits) {
  return {_mm256_or_si256(nibbles.a, fifth_bits<kBit>(bits.a)),
          _mm256_or_si256(nibbles.b, fifth_bits<kBit>(bits.b))};
}

template <int kPair>
inline __m256i two_bits_above(__m256i bits) {
  const __m256i moved =
      kPair < 2 ? _mm256_slli_epi16(bits, 4 - 2 * (kPair % 2)) : _mm256_srli_epi16(bits, 2 * (kPair % 2));
  return _mm256_and_si256(moved, _mm256_set1_epi8(48));
}
template <int kPair>
inline Codes with_two_more(Codes nibbles, Codes bits) {
  return {_mm256_or_si256(nibbles.a, two_bits_above<kPair>(bits.a)),
          _mm256_or_si256(nibbles.b, two_bits_above<kPair>(bits.b))};
}

inline __m256i four_codes(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}
template <bool kNarrow>
inline __m256i dot4_half(__m256i acc, __m256i ws, __m256i xs) {
  const __m256i pairs = kNarrow ? _mm256_maddubs_epi16(ws, xs)
                                : _mm256_maddubs_epi16(_mm256_abs_epi8(ws), _mm256_sign_epi8(xs, ws));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
template <bool kNarrow>
inline I16 dot4(I16 acc, Codes w, const int8_t* x) {
  const __m256i xs = four_codes(x);
  return {dot4_half<kNarrow>(acc.a, w.a, xs), dot4_half<kNarrow>(acc.b, w.b, xs)};
}

/// Products of codes and activations added in pairs of 16 bits, lane by lane; the caller sees to it that
/// they fit.
inline I16 add_pairs(I16 acc, Codes w, const int8_t* x) {
  const __m256i xs = four_codes(x);
  return {_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, xs)),
          _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, xs))};
}
inline I16 add_widened(I16 acc, I16 pairs) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(pairs.a, ones)),
          _mm256_add_epi32(acc.b, _mm256_madd_epi16(pairs.b, ones))};
}
constexpr bool kPairSums = true;

// Eight rows of 32 bytes to eight columns of 8 x 4 bytes, 64 bytes apart.
inline void interleave_8x8(const uint8_t* rows, int64_t stride, __m256i flips, uint8_t* out) {
  __m256i r[8], t[8];
  for (int i = 0; i < 8; ++i)
    r[i] = _mm256_add_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + i * stride)), flips);
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    r[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64 * c),
                        _mm256_permute2x128_si256(r[c], r[4 + c], 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64 * (4 + c)),
                        _mm256_permute2x128_si256(r[c], r[4 + c], 0x31));
  }
}
inline void interleave(const uint8_t* rows, int64_t stride, uint8_t flip, uint8_t* out) {
  const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
  for (int half_rows = 0; half_rows < 2; ++half_rows) {
    for (int half_columns = 0; half_columns < 2; ++half_columns)
      interleave_8x8(rows + 8 * half_rows * stride + 32 * half_columns, stride, flips,
                     out + 512 * half_columns + 32 * half_rows);
  }
}

inline float half(uint16_t h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

constexpr int kMr = 3, kNr = 2;  // accumulators of the fp32 kernel: 12 of 16 registers
constexpr int kPanel = 4;
constexpr bool kUnsignedCodes = false;

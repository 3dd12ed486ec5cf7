// Activations rounded to int8, a scale for every 32.

/// Activations as int8 with a scale for every 32: x is about scales[k / 32] * codes[k].
struct Int8Rows {
  const int8_t* codes = nullptr;  ///< [rows, in]
  const float* scales = nullptr;  ///< [rows, in / 32]
  const int32_t* sums = nullptr;  ///< [rows, in / 16] of the codes of 16
};

/// What int8_size bytes at `all` hold.
inline Int8Rows int8_rows(const void* all, int64_t rows, int64_t in) {
  Int8Rows x;
  x.codes = static_cast<const int8_t*>(all);
  x.scales = reinterpret_cast<const float*>(x.codes + rows * in);
  x.sums = reinterpret_cast<const int32_t*>(x.scales + rows * (in / 32));
  return x;
}

// Up to kPanel activations as linear_panels.h reads them too: side by side.
struct FewRows {
  int64_t rows;
  const int32_t* codes;      ///< [in / 4][rows] of four
  const float* scales;       ///< [in / 32][rows]
  const int32_t* sums;       ///< [in / 32][rows] of the codes of 32
  const float* scaled_sums;  ///< [in / 32][rows] scale times sum
  const int32_t* half_sums;  ///< [in / 16][rows] of the codes of 16
};

inline int64_t int8_rows_size(int64_t rows, int64_t in) { return rows * (in + in / 32 * 12); }

inline FewRows few_rows(const void* rounded, int64_t rows, int64_t in) {
  FewRows x;
  x.rows = rows;
  x.codes = reinterpret_cast<const int32_t*>(static_cast<const char*>(rounded) + int8_rows_size(rows, in));
  x.scales = reinterpret_cast<const float*>(x.codes + rows * in / 4);
  x.sums = reinterpret_cast<const int32_t*>(x.scales + rows * in / 32);
  x.scaled_sums = reinterpret_cast<const float*>(x.sums + rows * in / 32);
  x.half_sums = reinterpret_cast<const int32_t*>(x.scaled_sums + rows * in / 32);
  return x;
}

size_t int8_size(int64_t rows, int64_t in) {
  const int64_t few = rows <= kPanel ? rows * (in + in / 32 * 20) : 0;
  return static_cast<size_t>(int8_rows_size(rows, in) + few);
}

inline int32_t sum_of_codes(const int8_t* codes) {
#if defined(__AVX2__)
  const __m128i pairs =
      _mm_maddubs_epi16(_mm_set1_epi8(1), _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
  __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
  fours = _mm_add_epi32(fours, _mm_unpackhi_epi64(fours, fours));
  return _mm_cvtsi128_si32(_mm_add_epi32(fours, _mm_shuffle_epi32(fours, 1)));
#else
  int32_t total = 0;
  for (int i = 0; i < 16; ++i) total += codes[i];
  return total;
#endif
}

// Activations carry one scale for every 32 numbers.
void quantize(const float* x, int64_t in, int8_t* codes, float* scales, int32_t* sums) {
  for (int64_t k = 0; k < in; k += 32) {
    const V16 a = load(x + k), b = load(x + k + 16);
    const float top = largest(max(abs(a), abs(b)));
    // NaN when any number is infinite or NaN; then every product is NaN too, by the scale.
    const float finite = sum(mul(add(a, b), zero()));
    if (finite == 0.0f && top > 1e-30f) {
      const V16 inverse = set1(127.0f / top);
      store_int8(codes + k, mul(a, inverse));
      store_int8(codes + k + 16, mul(b, inverse));
      scales[k / 32] = top / 127.0f;
    } else {
      __builtin_memset(codes + k, 0, 32);
      scales[k / 32] = finite == 0.0f ? 0.0f : __builtin_nanf("");
    }
    for (int h = 0; h < 2; ++h) sums[k / 16 + h] = sum_of_codes(codes + k + 16 * h);
  }
}

inline void arrange_few(const Int8Rows& x, int64_t rows, int64_t in, const FewRows& to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < in / 4; ++i)
      __builtin_memcpy(const_cast<int32_t*>(to.codes) + i * rows + r, x.codes + r * in + 4 * i, 4);
    for (int64_t g = 0; g < in / 32; ++g) {
      const float scale = x.scales[r * (in / 32) + g];
      const int32_t* half = x.sums + r * (in / 16) + 2 * g;
      const_cast<float*>(to.scales)[g * rows + r] = scale;
      const_cast<int32_t*>(to.sums)[g * rows + r] = half[0] + half[1];
      for (int h = 0; h < 2; ++h) const_cast<int32_t*>(to.half_sums)[(2 * g + h) * rows + r] = half[h];
      const_cast<float*>(to.scaled_sums)[g * rows + r] = scale * float(half[0] + half[1]);
    }
  }
}

void round_to_int8(const float* x, int64_t rows, int64_t in, int64_t block, void* out) {
  const Int8Rows to = int8_rows(out, rows, in);
  const int64_t end = (block + 1) * kRowBlock < rows ? (block + 1) * kRowBlock : rows;
  for (int64_t r = block * kRowBlock; r < end; ++r)
    quantize(x + r * in, in, const_cast<int8_t*>(to.codes) + r * in,
             const_cast<float*>(to.scales) + r * (in / 32), const_cast<int32_t*>(to.sums) + r * (in / 16));
  if (rows <= kPanel) arrange_few(to, rows, in, few_rows(out, rows, in));
}

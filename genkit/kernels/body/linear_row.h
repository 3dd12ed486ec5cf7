// Products of one or a few rows of int8 activations, straight from the weight's blocks: unpacking a tile
// (linear_int8.h) costs more than reading it when so few will use it. Eight weight rows stand
// in the lanes; a row's 32 codes meet an activation's 32 in one register, and the partial sums of
// eight rows are added across. The integers are those of the tile, and the steps in floating point
// are the same in the same order, so the bits are.

#if defined(__AVX2__)
/// Sums of four products each; `w` has been flipped to unsigned where the target wants that.
template <bool kSigned>
inline __m256i dot32(__m256i w, __m256i x) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  if constexpr (kSigned) w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);
#else
  const __m256i pairs =
      kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

// Unsigned codes of 8 bits overflow the pairs of maddubs, so they are made signed where it is used.
template <class Tag>
constexpr bool kFlipped = !kUnsignedCodes && Tag::kTraits.wide && !Tag::kTraits.is_signed;

/// Lane r of low[i] and high[i]: the integer dot of row r's codes with activation i, of the first 16 and of
/// the others.
template <class Tag, int R>
inline void dots_of(const RowGroup& w, int64_t at, int g, const __m256i* x, __m256i* low, __m256i* high) {
  constexpr bool kSigned = Tag::kTraits.is_signed || kFlipped<Tag>;
  __m256i sums[2][R];
  for (int h = 0; h < 2; ++h) {
    __m256i codes[4];
    for (int r = 0; r < 4; ++r) {
      codes[r] = codes_of<Tag>(w.rows[4 * h + r] + at, g);
      if constexpr (kFlipped<Tag>) codes[r] = _mm256_xor_si256(codes[r], _mm256_set1_epi8(-128));
    }
    for (int i = 0; i < R; ++i) {
      __m256i d[4];
      for (int r = 0; r < 4; ++r) d[r] = dot32<kSigned>(codes[r], x[i]);
      sums[h][i] = _mm256_hadd_epi32(_mm256_hadd_epi32(d[0], d[1]), _mm256_hadd_epi32(d[2], d[3]));
    }
  }
  for (int i = 0; i < R; ++i) {
    low[i] = _mm256_permute2x128_si256(sums[0][i], sums[1][i], 0x20);
    high[i] = _mm256_permute2x128_si256(sums[0][i], sums[1][i], 0x31);
  }
}

/// total[i]: the products of eight weight rows with activation i of R.
template <class Tag, int R>
inline void multiply_row(const RowGroup& w, int64_t row_bytes, int64_t in, const Int8Rows& x, __m256* total) {
  constexpr CodeTraits t = Tag::kTraits;
  constexpr int kGroups = Tag::kGroups;
  constexpr int kCorrection = kFlipped<Tag> ? 128 : kUnsignedCodes && t.is_signed ? -128 : -t.zero;
  const int64_t block_bytes = row_bytes * 32 * kGroups / in;
  const int64_t fetched = kRowLanes * block_bytes / kGroups;
  // Two groups of rows ahead, in the order in which they lie: the processor does not see the
  // pattern by itself. Past the end of the weight this reads nothing and does no harm.
  const uint8_t* ahead = w.base + 2 * kRowLanes * row_bytes;
  __m256 scales[16], biases[16];
  for (int i = 0; i < R; ++i) total[i] = _mm256_setzero_ps();
  int64_t k = 0;
  for (int64_t b = 0; b < in / (32 * kGroups); ++b) {
    const int64_t at = b * block_bytes;
    block_scales<Tag>(w, b, at, scales, biases);
    for (int g = 0; g < kGroups; ++g, k += 32) {
      for (int64_t i = 0; i < fetched; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      ahead += fetched;
      __m256i codes[R], low[R], high[R];
      for (int i = 0; i < R; ++i) codes[i] = load32(reinterpret_cast<const uint8_t*>(x.codes + i * in + k));
      dots_of<Tag, R>(w, at, g, codes, low, high);
      for (int i = 0; i < R; ++i) {
        const float xscale = x.scales[(i * in + k) / 32];
        const int32_t* xsums = x.sums + (i * in + k) / 16;
        const auto step = [&](__m256i dot, int32_t sum, int j) {
          const __m256 whole =
              _mm256_cvtepi32_ps(_mm256_add_epi32(dot, _mm256_set1_epi32(kCorrection * sum)));
          total[i] = _mm256_fmadd_ps(whole, _mm256_mul_ps(scales[j], _mm256_set1_ps(xscale)), total[i]);
          if constexpr (t.biased)
            total[i] = _mm256_fmadd_ps(biases[j], _mm256_set1_ps(xscale * float(sum)), total[i]);
        };
        if constexpr (t.group == 16) {
          step(low[i], xsums[0], 2 * g);
          step(high[i], xsums[1], 2 * g + 1);
        } else {
          step(_mm256_add_epi32(low[i], high[i]), xsums[0] + xsums[1], g);
        }
      }
    }
  }
}

template <class Tag, int R>
inline void multiply_rows(const LinearTask& task, const Int8Rows& x) {
  const WeightRows& w = *task.weight;
  for (int r = 0; r < task.count; r += kRowLanes) {
    const int64_t column = task.first + r;
    const int count = task.count - r < kRowLanes ? task.count - r : kRowLanes;
    const RowGroup rows = row_group(w, column, count);
    __m256 total[R];
    multiply_row<Tag, R>(rows, static_cast<int64_t>(w.row_bytes), w.in, x, total);
    for (int i = 0; i < R; ++i) {
      alignas(32) float y[kRowLanes];
      _mm256_store_ps(y, total[i]);
      float* to = task.y + i * task.ldy + column;
      for (int j = 0; j < count; ++j) to[j] = task.bias ? y[j] + task.bias[column + j] : y[j];
    }
  }
}

// Up to so many activations this way measured faster than a tile. Codes of a byte cost nothing to unpack, so
// that more of them gain; formats with 16 numbers a scale have two sums to finish where others have one.
template <class Tag>
constexpr int kRowsAtOnce = Tag::kTraits.wide          ? (kUnsignedCodes ? 3 : 4)
                            : Tag::kTraits.group == 32 ? 2
                                                       : 1;

template <class Tag, int R = 1>
inline bool multiply_few_rows(const LinearTask& task, const Int8Rows& x) {
  if (task.rows == R) {
    multiply_rows<Tag, R>(task, x);
    return true;
  }
  if constexpr (R < kRowsAtOnce<Tag>) return multiply_few_rows<Tag, R + 1>(task, x);
  return false;
}

/// @return false when this way has nothing for the task.
inline bool linear_row(const LinearTask& task, const Int8Rows& x) {
  if (!fits_lanes(*task.weight)) return false;
  bool done = false;
  with_row_format(*task.weight, [&](auto tag) { done = multiply_few_rows<decltype(tag)>(task, x); });
  return done;
}
#else
inline bool linear_row(const LinearTask&, const Int8Rows&) { return false; }
#endif

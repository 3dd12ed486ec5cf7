// Products of one row of int8 activations, straight from the weight's blocks: unpacking a tile
// (linear_int8.h) costs more than reading it when only one row will use it. Eight weight rows stand
// in the lanes; a row's 32 codes meet the activation's 32 in one register, and the partial sums of
// eight rows are added across. The integers are those of the tile, and the steps in floating point
// are the same in the same order, so the bits are.

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

/// Lane r: the integer dot of row r's codes, the first 16 in `low` and the others in `high`.
template <class Tag>
inline void dots_of(const RowGroup& w, int64_t at, int g, __m256i x, __m256i& low, __m256i& high) {
  constexpr bool kSigned = Tag::kTraits.is_signed || kFlipped<Tag>;
  __m256i sums[2];
  for (int i = 0; i < 2; ++i) {
    __m256i d[4];
    for (int r = 0; r < 4; ++r) {
      __m256i codes = codes_of<Tag>(w.rows[4 * i + r] + at, g);
      if constexpr (kFlipped<Tag>) codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
      d[r] = dot32<kSigned>(codes, x);
    }
    sums[i] = _mm256_hadd_epi32(_mm256_hadd_epi32(d[0], d[1]), _mm256_hadd_epi32(d[2], d[3]));
  }
  low = _mm256_permute2x128_si256(sums[0], sums[1], 0x20);
  high = _mm256_permute2x128_si256(sums[0], sums[1], 0x31);
}

template <class Tag>
inline __m256 multiply_row(const RowGroup& w, int64_t row_bytes, int64_t in, const int8_t* codes,
                           const float* xscales, const int32_t* xsums) {
  constexpr CodeTraits t = Tag::kTraits;
  constexpr int kGroups = Tag::kGroups;
  constexpr int kCorrection = kFlipped<Tag> ? 128 : kUnsignedCodes && t.is_signed ? -128 : -t.zero;
  const int64_t block_bytes = row_bytes * 32 * kGroups / in;
  const int64_t fetched = kRowLanes * block_bytes / kGroups;
  // Two groups of rows ahead, in the order in which they lie: the processor does not see the
  // pattern by itself. Past the end of the weight this reads nothing and does no harm.
  const uint8_t* ahead = w.base + 2 * kRowLanes * row_bytes;
  __m256 total = _mm256_setzero_ps(), scales[16], biases[16];
  for (int64_t b = 0; b < in / (32 * kGroups); ++b) {
    const int64_t at = b * block_bytes;
    block_scales<Tag>(w, b, at, scales, biases);
    for (int g = 0; g < kGroups; ++g, codes += 32, xsums += 2, ++xscales) {
      for (int64_t i = 0; i < fetched; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      ahead += fetched;
      __m256i low, high;
      dots_of<Tag>(w, at, g, load32(reinterpret_cast<const uint8_t*>(codes)), low, high);
      const auto step = [&](__m256i dot, int32_t sum, int i) {
        const __m256 whole = _mm256_cvtepi32_ps(_mm256_add_epi32(dot, _mm256_set1_epi32(kCorrection * sum)));
        total = _mm256_fmadd_ps(whole, _mm256_mul_ps(scales[i], _mm256_set1_ps(*xscales)), total);
        if constexpr (t.biased)
          total = _mm256_fmadd_ps(biases[i], _mm256_set1_ps(*xscales * float(sum)), total);
      };
      if constexpr (t.group == 16) {
        step(low, xsums[0], 2 * g);
        step(high, xsums[1], 2 * g + 1);
      } else {
        step(_mm256_add_epi32(low, high), xsums[0] + xsums[1], g);
      }
    }
  }
  return total;
}

template <class Tag>
inline void multiply_rows(const LinearTask& task, const Int8Rows& x) {
  const WeightRows& w = *task.weight;
  for (int r = 0; r < task.count; r += kRowLanes) {
    const int64_t column = task.first + r;
    const int count = task.count - r < kRowLanes ? task.count - r : kRowLanes;
    const RowGroup rows = row_group(w, column, count);
    alignas(32) float y[kRowLanes];
    _mm256_store_ps(
        y, multiply_row<Tag>(rows, static_cast<int64_t>(w.row_bytes), w.in, x.codes, x.scales, x.sums));
    for (int i = 0; i < count; ++i) task.y[column + i] = task.bias ? y[i] + task.bias[column + i] : y[i];
  }
}

/// @return false when this way has nothing for the task.
inline bool linear_row(const LinearTask& task, const Int8Rows& x) {
  if (task.rows != 1 || !fits_lanes(*task.weight)) return false;
  return with_row_format(*task.weight, [&](auto tag) { multiply_rows<decltype(tag)>(task, x); });
}
#else
inline bool linear_row(const LinearTask&, const Int8Rows&) { return false; }
#endif

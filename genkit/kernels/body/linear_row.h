// Products of one row of int8 activations, straight from the weight's blocks: unpacking a tile
// (linear_int8.h) costs more than reading it when only one row will use it. Eight weight rows stand
// in the lanes; a row's 32 codes meet the activation's 32 in one register, and the partial sums of
// eight rows are added across. The integers are those of the tile, and the steps in floating point
// are the same in the same order, so the bits are.

#if defined(__AVX2__)
constexpr int kRowLanes = 8;

inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

/// Codes 32 g .. 32 g + 31 of a block.
template <WeightFormat kFormat>
inline __m256i codes_of(const uint8_t* b, int g) {
  using F = WeightFormat;
  const __m256i nibble = _mm256_set1_epi8(15);
  if constexpr (kFormat == F::kQ8_0) {
    return load32(b + 2);
  } else if constexpr (kFormat == F::kQ4_K || kFormat == F::kQ5_K) {
    constexpr int kNibbles = kFormat == F::kQ4_K ? 16 : 48;
    const __m256i pair = load32(b + kNibbles + 32 * (g / 2));
    const __m256i low = _mm256_and_si256(_mm256_srl_epi16(pair, _mm_cvtsi32_si128(4 * (g % 2))), nibble);
    if constexpr (kFormat == F::kQ4_K) return low;
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << g));
    const __m256i fifth = _mm256_cmpeq_epi8(_mm256_and_si256(load32(b + 16), bit), bit);
    return _mm256_or_si256(low, _mm256_and_si256(fifth, _mm256_set1_epi8(16)));
  } else if constexpr (kFormat == F::kQ6_K) {
    const int half = g / 4, part = g % 4;
    const __m256i four =
        _mm256_srl_epi16(load32(b + 64 * half + 32 * (part % 2)), _mm_cvtsi32_si128(4 * (part / 2)));
    const __m256i two = _mm256_srl_epi16(load32(b + 128 + 32 * half), _mm_cvtsi32_si128(2 * part));
    return _mm256_or_si256(_mm256_and_si256(four, nibble),
                           _mm256_slli_epi16(_mm256_and_si256(two, _mm256_set1_epi8(3)), 4));
  } else {
    return codes32<kFormat>(b);
  }
}

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

/// Eight weight rows: where they start, and where each lane's row lies from there. Lanes past the
/// last row repeat the first.
struct RowGroup {
  const uint8_t* base;
  const uint8_t* rows[kRowLanes];
  __m256i offsets;

  __m256i words(int64_t at) const {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(base + at), offsets, 1);
  }
};

/// Lane r: the integer dot of row r's codes, the first 16 in `low` and the others in `high`.
template <WeightFormat kFormat, bool kSigned>
inline void dots_of(const RowGroup& w, int64_t at, int g, __m256i x, __m256i& low, __m256i& high) {
  __m256i sums[2];
  for (int i = 0; i < 2; ++i) {
    __m256i d[4];
    for (int r = 0; r < 4; ++r) d[r] = dot32<kSigned>(codes_of<kFormat>(w.rows[4 * i + r] + at, g), x);
    sums[i] = _mm256_hadd_epi32(_mm256_hadd_epi32(d[0], d[1]), _mm256_hadd_epi32(d[2], d[3]));
  }
  low = _mm256_permute2x128_si256(sums[0], sums[1], 0x20);
  high = _mm256_permute2x128_si256(sums[0], sums[1], 0x31);
}

inline __m256 halves_of(__m256i words) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}
inline __m256 low_halves(__m256i words) {
  return halves_of(_mm256_and_si256(words, _mm256_set1_epi32(0xffff)));
}
inline __m256 high_halves(__m256i words) { return halves_of(_mm256_srli_epi32(words, 16)); }

/// Scales (and biases) of a block's groups, row r in lane r.
template <WeightFormat kFormat>
inline void block_scales(const RowGroup& w, int64_t at, __m256* scales, __m256* biases) {
  using F = WeightFormat;
  const __m256i byte = _mm256_set1_epi32(255);
  if constexpr (kFormat == F::kQ6_K) {
    const __m256 d = high_halves(w.words(at + 206));
    for (int i = 0; i < 4; ++i) {
      __m256i four = w.words(at + 192 + 4 * i);
      for (int j = 0; j < 4; ++j) {
        const __m256i scale = _mm256_srai_epi32(_mm256_slli_epi32(four, 24), 24);
        scales[4 * i + j] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
        four = _mm256_srli_epi32(four, 8);
      }
    }
  } else if constexpr (kFormat == F::kQ4_K || kFormat == F::kQ5_K) {
    const __m256i both = w.words(at), low = w.words(at + 4), mid = w.words(at + 8), high = w.words(at + 12);
    const __m256i six = _mm256_set1_epi32(0x3f3f3f3f), four = _mm256_set1_epi32(0x0f0f0f0f);
    const __m256i top = _mm256_set1_epi32(0x30303030);
    __m256i packed[4] = {
        _mm256_and_si256(low, six),
        _mm256_or_si256(_mm256_and_si256(high, four), _mm256_and_si256(_mm256_srli_epi32(low, 2), top)),
        _mm256_and_si256(mid, six),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(high, 4), four),
                        _mm256_and_si256(_mm256_srli_epi32(mid, 2), top))};
    const __m256 d = low_halves(both);
    const __m256 minus_dmin = _mm256_xor_ps(high_halves(both), _mm256_set1_ps(-0.0f));
    for (int i = 0; i < 8; ++i) {
      __m256i& s = packed[i / 4];
      __m256i& m = packed[2 + i / 4];
      scales[i] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(s, byte)));
      biases[i] = _mm256_mul_ps(minus_dmin, _mm256_cvtepi32_ps(_mm256_and_si256(m, byte)));
      s = _mm256_srli_epi32(s, 8);
      m = _mm256_srli_epi32(m, 8);
    }
  } else {
    const __m256i words = w.words(at);
    scales[0] = low_halves(words);
    if constexpr (block32(kFormat).biased) biases[0] = high_halves(words);
  }
}

template <WeightFormat kFormat>
inline __m256 multiply_row(const RowGroup& w, int64_t row_bytes, int64_t in, const int8_t* codes,
                           const float* xscales, const int32_t* xsums) {
  constexpr CodeTraits t = code_traits(kFormat, 0);
  constexpr bool kBlockOf256 =
      kFormat == WeightFormat::kQ4_K || kFormat == WeightFormat::kQ5_K || kFormat == WeightFormat::kQ6_K;
  constexpr int kGroups = kBlockOf256 ? 8 : 1;
  constexpr int kCorrection = kUnsignedCodes && t.is_signed ? -128 : -t.zero;
  const int64_t block_bytes = row_bytes * 32 * kGroups / in;
  // Two groups of rows ahead, in the order in which they lie: the processor does not see the
  // pattern by itself. Past the end of the weight this reads nothing and does no harm.
  const uint8_t* ahead = w.base + 2 * kRowLanes * row_bytes;
  __m256 total = _mm256_setzero_ps(), scales[16], biases[8];
  for (int64_t b = 0; b < in / (32 * kGroups); ++b) {
    const int64_t at = b * block_bytes;
    for (int64_t i = 0; i < kRowLanes * block_bytes; i += 64) __builtin_prefetch(ahead + i, 0, 2);
    ahead += kRowLanes * block_bytes;
    block_scales<kFormat>(w, at, scales, biases);
    for (int g = 0; g < kGroups; ++g, codes += 32, xsums += 2, ++xscales) {
      __m256i low, high;
      dots_of<kFormat, t.is_signed>(w, at, g, load32(reinterpret_cast<const uint8_t*>(codes)), low, high);
      const auto step = [&](__m256i dot, int32_t sum, __m256 scale) {
        const __m256 whole = _mm256_cvtepi32_ps(_mm256_add_epi32(dot, _mm256_set1_epi32(kCorrection * sum)));
        total = _mm256_fmadd_ps(whole, _mm256_mul_ps(scale, _mm256_set1_ps(*xscales)), total);
      };
      if constexpr (t.group == 16) {
        step(low, xsums[0], scales[2 * g]);
        step(high, xsums[1], scales[2 * g + 1]);
      } else {
        const int32_t sum = xsums[0] + xsums[1];
        step(_mm256_add_epi32(low, high), sum, scales[g]);
        if constexpr (t.biased)
          total = _mm256_fmadd_ps(biases[g], _mm256_set1_ps(*xscales * float(sum)), total);
      }
    }
  }
  return total;
}

template <WeightFormat kFormat>
inline bool multiply_rows(const LinearTask& task, const Int8Rows& x) {
  const WeightRows& w = *task.weight;
  if (w.row_bytes > (size_t{1} << 27)) return false;  // the offsets of lanes are 32 bits
  for (int r = 0; r < task.count; r += kRowLanes) {
    const int count = task.count - r < kRowLanes ? task.count - r : kRowLanes;
    RowGroup rows;
    alignas(32) int32_t offsets[kRowLanes];
    rows.base = w.data + (task.first + r) * w.row_bytes;
    for (int i = 0; i < kRowLanes; ++i) {
      offsets[i] = i < count ? static_cast<int32_t>(i * w.row_bytes) : 0;
      rows.rows[i] = rows.base + offsets[i];
    }
    rows.offsets = _mm256_load_si256(reinterpret_cast<const __m256i*>(offsets));
    for (int64_t m = 0; m < task.rows; ++m) {
      alignas(32) float y[kRowLanes];
      _mm256_store_ps(y,
                      multiply_row<kFormat>(rows, static_cast<int64_t>(w.row_bytes), w.in, x.codes + m * w.in,
                                            x.scales + m * w.in / 32, x.sums + m * w.in / 16));
      const int64_t column = task.first + r;
      float* to = task.y + m * task.ldy + column;
      for (int i = 0; i < count; ++i) to[i] = task.bias ? y[i] + task.bias[column + i] : y[i];
    }
  }
  return true;
}

/// @return false when this way has nothing for the task.
inline bool linear_few_rows(const LinearTask& task, const Int8Rows& x) {
  using F = WeightFormat;
  constexpr int kFew = 1;
  if (task.rows > kFew) return false;
  switch (task.weight->format) {
    case F::kQ4_0:
      return multiply_rows<F::kQ4_0>(task, x);
    case F::kQ4_1:
      return multiply_rows<F::kQ4_1>(task, x);
    case F::kQ5_0:
      return multiply_rows<F::kQ5_0>(task, x);
    case F::kQ5_1:
      return multiply_rows<F::kQ5_1>(task, x);
    case F::kQ8_0:
      return multiply_rows<F::kQ8_0>(task, x);
    case F::kIQ4_NL:
      return multiply_rows<F::kIQ4_NL>(task, x);
    case F::kQ4_K:
      return multiply_rows<F::kQ4_K>(task, x);
    case F::kQ5_K:
      return multiply_rows<F::kQ5_K>(task, x);
    case F::kQ6_K:
      return multiply_rows<F::kQ6_K>(task, x);
    default:
      return false;
  }
}
#else
inline bool linear_few_rows(const LinearTask&, const Int8Rows&) { return false; }
#endif

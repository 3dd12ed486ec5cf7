// Blocks of eight weight rows in registers: a row's 32 codes in one, the scales of eight rows in the
// lanes of another. The numbers are those of unpack(), bit for bit.

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

inline bool fits_lanes(const WeightRows& w) { return w.row_bytes < (size_t{1} << 27); }

/// Rows [first, first + count) of a weight that fits_lanes; count from 1.
inline RowGroup row_group(const WeightRows& w, int64_t first, int count) {
  RowGroup group;
  alignas(32) int32_t offsets[kRowLanes];
  group.base = w.data + first * static_cast<int64_t>(w.row_bytes);
  for (int i = 0; i < kRowLanes; ++i) {
    offsets[i] = i < count ? static_cast<int32_t>(i * w.row_bytes) : 0;
    group.rows[i] = group.base + offsets[i];
  }
  group.offsets = _mm256_load_si256(reinterpret_cast<const __m256i*>(offsets));
  return group;
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
struct FormatTag {
  static constexpr WeightFormat kValue = kFormat;
  static constexpr bool kBlockOf256 =
      kFormat == WeightFormat::kQ4_K || kFormat == WeightFormat::kQ5_K || kFormat == WeightFormat::kQ6_K;
  static constexpr int kGroups = kBlockOf256 ? 8 : 1;  ///< of 32 numbers in a block
};

/// use(FormatTag) for the formats of this file. @return false for others.
template <class Use>
inline bool with_row_format(WeightFormat format, Use use) {
  using F = WeightFormat;
  switch (format) {
    case F::kQ4_0:
      use(FormatTag<F::kQ4_0>());
      return true;
    case F::kQ4_1:
      use(FormatTag<F::kQ4_1>());
      return true;
    case F::kQ5_0:
      use(FormatTag<F::kQ5_0>());
      return true;
    case F::kQ5_1:
      use(FormatTag<F::kQ5_1>());
      return true;
    case F::kQ8_0:
      use(FormatTag<F::kQ8_0>());
      return true;
    case F::kIQ4_NL:
      use(FormatTag<F::kIQ4_NL>());
      return true;
    case F::kQ4_K:
      use(FormatTag<F::kQ4_K>());
      return true;
    case F::kQ5_K:
      use(FormatTag<F::kQ5_K>());
      return true;
    case F::kQ6_K:
      use(FormatTag<F::kQ6_K>());
      return true;
    default:
      return false;
  }
}
#endif

// Blocks of eight weight rows in registers: a row's 32 codes in one, the scales of eight rows in the
// lanes of another. The numbers are those of unpack(), bit for bit.

#if defined(__AVX2__)
constexpr int kRowLanes = 8;

inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

/// A format as a type; `kBits` is of kAffine alone.
template <WeightFormat kFormat, int kAffineBits = 0>
struct FormatTag {
  static constexpr WeightFormat kValue = kFormat;
  static constexpr int kBits = kAffineBits;
  static constexpr bool kBlockOf256 = kFormat == WeightFormat::kQ2_K || kFormat == WeightFormat::kQ3_K ||
                                      kFormat == WeightFormat::kQ4_K || kFormat == WeightFormat::kQ5_K ||
                                      kFormat == WeightFormat::kQ6_K || kFormat == WeightFormat::kIQ4_XS;
  static constexpr int kGroups = kBlockOf256 ? 8 : 1;  ///< of 32 numbers in a block
  static constexpr CodeTraits kTraits = code_traits(kFormat, kAffineBits);
};

/// Bits [shift, shift + 2) of every byte.
inline __m256i two_bits(__m256i bytes, int shift) {
  return _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift)), _mm256_set1_epi8(3));
}

/// Codes 32 g .. 32 g + 31 of a block.
template <class Tag>
inline __m256i codes_of(const uint8_t* b, int g) {
  using F = WeightFormat;
  constexpr F kFormat = Tag::kValue;
  const __m256i nibble = _mm256_set1_epi8(15);
  if constexpr (kFormat == F::kQ8_0) {
    return load32(b + 2);
  } else if constexpr (kFormat == F::kAffine && Tag::kBits == 8) {
    return load32(b);
  } else if constexpr (kFormat == F::kAffine) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), mask = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(raw, mask), high = _mm_and_si128(_mm_srli_epi16(raw, 4), mask);
    return _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
  } else if constexpr (kFormat == F::kQ2_K) {
    return two_bits(load32(b + 16 + 32 * (g / 4)), 2 * (g % 4));
  } else if constexpr (kFormat == F::kQ3_K) {
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << g));
    const __m256i third = _mm256_cmpeq_epi8(_mm256_and_si256(load32(b), bit), bit);
    return _mm256_or_si256(two_bits(load32(b + 32 + 32 * (g / 4)), 2 * (g % 4)),
                           _mm256_and_si256(third, _mm256_set1_epi8(4)));
  } else if constexpr (kFormat == F::kIQ4_XS) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 8 + 16 * g));
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Table));
    const __m256i all = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(raw, 4), raw), nibble);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), all);
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
    const __m256i two = two_bits(load32(b + 128 + 32 * half), 2 * part);
    return _mm256_or_si256(_mm256_and_si256(four, nibble), _mm256_slli_epi16(two, 4));
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
  // kAffine: the first row's scales and biases, and where each lane's lie from there.
  const uint8_t *scales = nullptr, *biases = nullptr;
  __m256i scale_offsets;
  WeightFormat scale_format = WeightFormat::kF32;
  int64_t group_size = 32;

  __m256i words(int64_t at) const {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(base + at), offsets, 1);
  }
};

inline bool fits_lanes(const WeightRows& w) {
  // An affine scale of two bytes is read together with a neighbour of its row.
  if (w.format == WeightFormat::kAffine && w.in / w.group_size < 2) return false;
  return w.row_bytes < (size_t{1} << 27);
}

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
  if (w.format != WeightFormat::kAffine) return group;
  const int64_t size = w.scale_format == WeightFormat::kF32 ? 4 : 2, scale_bytes = w.in / w.group_size * size;
  for (int i = 0; i < kRowLanes; ++i) offsets[i] = i < count ? static_cast<int32_t>(i * scale_bytes) : 0;
  group.scale_offsets = _mm256_load_si256(reinterpret_cast<const __m256i*>(offsets));
  group.scales = w.scales + first * scale_bytes;
  group.biases = w.biases + first * scale_bytes;
  group.scale_format = w.scale_format;
  group.group_size = w.group_size;
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

/// Number `i` of every lane's row of affine scales or biases; rows have at least two.
inline __m256 affine_numbers(const RowGroup& w, const uint8_t* from, int64_t i) {
  const auto words = [&](const uint8_t* p) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(p), w.scale_offsets, 1);
  };
  if (w.scale_format == WeightFormat::kF32) return _mm256_castsi256_ps(words(from + 4 * i));
  // A word of two halves that lies within the row.
  const __m256i both = words(from + 2 * (i > 0 ? i - 1 : 0));
  if (w.scale_format == WeightFormat::kF16) return i > 0 ? high_halves(both) : low_halves(both);
  return _mm256_castsi256_ps(i > 0 ? _mm256_and_si256(both, _mm256_set1_epi32(int(0xffff0000u)))
                                   : _mm256_slli_epi32(both, 16));
}

/// Byte `i` of every lane as a number, less `zero`.
inline __m256 byte_numbers(__m256i words, int i, int zero) {
  const __m256i bytes =
      _mm256_and_si256(_mm256_srl_epi32(words, _mm_cvtsi32_si128(8 * i)), _mm256_set1_epi32(255));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(bytes, _mm256_set1_epi32(zero)));
}

inline void scales_of_q2_k(const RowGroup& w, int64_t at, __m256* scales, __m256* biases) {
  const __m256i both = w.words(at + 80), four = _mm256_set1_epi32(0x0f0f0f0f);
  const __m256 d = low_halves(both), minus_dmin = _mm256_xor_ps(high_halves(both), _mm256_set1_ps(-0.0f));
  for (int i = 0; i < 4; ++i) {
    const __m256i packed = w.words(at + 4 * i);
    const __m256i low = _mm256_and_si256(packed, four);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(packed, 4), four);
    for (int j = 0; j < 4; ++j) {
      scales[4 * i + j] = _mm256_mul_ps(d, byte_numbers(low, j, 0));
      biases[4 * i + j] = _mm256_mul_ps(minus_dmin, byte_numbers(high, j, 0));
    }
  }
}

inline void scales_of_q3_k(const RowGroup& w, int64_t at, __m256* scales) {
  const __m256i four = _mm256_set1_epi32(0x0f0f0f0f), two = _mm256_set1_epi32(0x03030303);
  const __m256i low[2] = {w.words(at + 96), w.words(at + 100)}, high = w.words(at + 104);
  const __m256 d = high_halves(w.words(at + 106));
  for (int i = 0; i < 4; ++i) {
    const __m256i nibbles =
        _mm256_and_si256(_mm256_srl_epi32(low[i % 2], _mm_cvtsi32_si128(4 * (i / 2))), four);
    const __m256i top = _mm256_and_si256(_mm256_srl_epi32(high, _mm_cvtsi32_si128(2 * i)), two);
    const __m256i packed = _mm256_or_si256(nibbles, _mm256_slli_epi32(top, 4));
    for (int j = 0; j < 4; ++j) scales[4 * i + j] = _mm256_mul_ps(d, byte_numbers(packed, j, 32));
  }
}

inline void scales_of_iq4_xs(const RowGroup& w, int64_t at, __m256* scales) {
  const __m256i both = w.words(at), low = w.words(at + 4), high = _mm256_srli_epi32(both, 16);
  const __m256 d = low_halves(both);
  for (int g = 0; g < 8; ++g) {
    const __m256i four =
        _mm256_and_si256(_mm256_srl_epi32(low, _mm_cvtsi32_si128(4 * g)), _mm256_set1_epi32(15));
    const __m256i two =
        _mm256_and_si256(_mm256_srl_epi32(high, _mm_cvtsi32_si128(2 * g)), _mm256_set1_epi32(3));
    scales[g] = _mm256_mul_ps(d, byte_numbers(_mm256_or_si256(four, _mm256_slli_epi32(two, 4)), 0, 32));
  }
}

// half_of_e8m0 of the first byte of every lane's word.
inline __m256 halves_of_e8m0(__m256i words) {
  const __m256i e = _mm256_and_si256(words, _mm256_set1_epi32(255));
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/// Scales (and biases) of a block's groups, row r in lane r. `b` is the number of the block.
template <class Tag>
inline void block_scales(const RowGroup& w, int64_t b, int64_t at, __m256* scales, __m256* biases) {
  using F = WeightFormat;
  constexpr F kFormat = Tag::kValue;
  const __m256i byte = _mm256_set1_epi32(255);
  if constexpr (kFormat == F::kAffine) {
    scales[0] = affine_numbers(w, w.scales, 32 * b / w.group_size);
    biases[0] = affine_numbers(w, w.biases, 32 * b / w.group_size);
  } else if constexpr (kFormat == F::kMXFP4) {
    scales[0] = halves_of_e8m0(w.words(at));
  } else if constexpr (kFormat == F::kQ2_K) {
    scales_of_q2_k(w, at, scales, biases);
  } else if constexpr (kFormat == F::kQ3_K) {
    scales_of_q3_k(w, at, scales);
  } else if constexpr (kFormat == F::kIQ4_XS) {
    scales_of_iq4_xs(w, at, scales);
  } else if constexpr (kFormat == F::kQ6_K) {
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

/// use(FormatTag) for the formats of this file. @return false for others.
template <class Use>
inline bool with_row_format(const WeightRows& w, Use use) {
  using F = WeightFormat;
  switch (w.format) {
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
    case F::kQ2_K:
      use(FormatTag<F::kQ2_K>());
      return true;
    case F::kQ3_K:
      use(FormatTag<F::kQ3_K>());
      return true;
    case F::kIQ4_XS:
      use(FormatTag<F::kIQ4_XS>());
      return true;
    case F::kMXFP4:
      use(FormatTag<F::kMXFP4>());
      return true;
    case F::kAffine:
      if (w.bits == 4)
        use(FormatTag<F::kAffine, 4>());
      else if (w.bits == 8)
        use(FormatTag<F::kAffine, 8>());
      else
        return false;
      return true;
    default:
      return false;
  }
}
#endif

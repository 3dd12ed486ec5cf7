// Blocks of every quantised format as codes, scales and biases. A number is
// scale * (code - zero) + bias, in this order and without fusing, which gives the bits of
// dequantize_row. Loops are plain: the compiler turns them into the target's vectors.

struct CodeTraits {
  int group;       // numbers that share a scale: 16 or 32
  int zero;        // taken from unsigned codes
  bool is_signed;  // codes are int8, zero is 0
  bool wide;       // codes use all 8 bits
  bool biased;
};

inline CodeTraits code_traits(WeightFormat format, int bits) {
  switch (format) {
    case WeightFormat::kQ4_0:
      return {32, 8, false, false, false};
    case WeightFormat::kQ5_0:
      return {32, 16, false, false, false};
    case WeightFormat::kQ8_0:
    case WeightFormat::kIQ4_NL:
    case WeightFormat::kIQ4_XS:
    case WeightFormat::kMXFP4:
      return {32, 0, true, true, false};
    case WeightFormat::kQ2_K:
      return {16, 0, false, false, true};
    case WeightFormat::kQ3_K:
      return {16, 4, false, false, false};
    case WeightFormat::kQ6_K:
      return {16, 32, false, false, false};
    case WeightFormat::kAffine:
      return {32, 0, false, bits == 8, true};
    default:
      return {32, 0, false, false, true};  // Q4_1, Q5_1, Q4_K, Q5_K
  }
}

inline uint16_t load16(const uint8_t* p) {
  uint16_t x;
  __builtin_memcpy(&x, p, 2);
  return x;
}
inline float half_at(const uint8_t* p) { return half(load16(p)); }

inline void nibbles(const uint8_t* __restrict qs, uint8_t* __restrict codes, int count) {
  for (int i = 0; i < count; ++i) {
    codes[i] = qs[i] & 15;
    codes[count + i] = qs[i] >> 4;
  }
}

// Bit i of `high` becomes bit 4 of code i.
inline void fifth_bits(const uint8_t* high, uint8_t* __restrict codes) {
  uint32_t bits;
  __builtin_memcpy(&bits, high, 4);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes),
                      _mm256_mask_add_epi8(all, bits, all, _mm256_set1_epi8(16)));
#elif defined(__AVX2__)
  const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2,
                                         2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i mask = _mm256_set1_epi64x(int64_t(0x8040201008040201ull));
  const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(int(bits)), which), mask);
  const __m256i set = _mm256_and_si256(_mm256_cmpeq_epi8(spread, mask), _mm256_set1_epi8(16));
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_or_si256(all, set));
#else
  for (int i = 0; i < 32; ++i) codes[i] |= uint8_t((bits >> i & 1) << 4);
#endif
}

// Codes 0..15 to the entries of a table of 16.
inline void look_up(const int8_t* table, uint8_t* codes, int count) {
#if defined(__AVX2__)
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  for (int i = 0; i < count; i += 16) {
    __m128i* at = reinterpret_cast<__m128i*>(codes + i);
    _mm_storeu_si128(at, _mm_shuffle_epi8(entries, _mm_loadu_si128(at)));
  }
#else
  for (int i = 0; i < count; ++i) codes[i] = static_cast<uint8_t>(table[codes[i]]);
#endif
}

constexpr int8_t kIq4Table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kE2m1Table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of 2^(e - 127), since the table holds doubled values.
inline float half_of_e8m0(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000u << e : uint32_t(e - 1) << 23;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

inline void unpack_small(WeightFormat format, const uint8_t* b, uint8_t* codes, float* scale, float* bias) {
  switch (format) {
    case WeightFormat::kQ4_0:
      *scale = half_at(b);
      return nibbles(b + 2, codes, 16);
    case WeightFormat::kQ4_1:
      *scale = half_at(b);
      *bias = half_at(b + 2);
      return nibbles(b + 4, codes, 16);
    case WeightFormat::kQ5_0:
      *scale = half_at(b);
      nibbles(b + 6, codes, 16);
      return fifth_bits(b + 2, codes);
    case WeightFormat::kQ5_1:
      *scale = half_at(b);
      *bias = half_at(b + 2);
      nibbles(b + 8, codes, 16);
      return fifth_bits(b + 4, codes);
    case WeightFormat::kQ8_0:
      *scale = half_at(b);
      __builtin_memcpy(codes, b + 2, 32);
      return;
    case WeightFormat::kIQ4_NL:
      *scale = half_at(b);
      nibbles(b + 2, codes, 16);
      return look_up(kIq4Table, codes, 32);
    default:  // kMXFP4
      *scale = half_of_e8m0(b[0]);
      nibbles(b + 1, codes, 16);
      return look_up(kE2m1Table, codes, 32);
  }
}

inline void unpack_q2_k(const uint8_t* __restrict b, uint8_t* __restrict codes, float* scales,
                        float* biases) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int g = 0; g < 16; ++g) {
    scales[g] = d * float(b[g] & 15);
    biases[g] = -(dmin * float(b[g] >> 4));
  }
  for (int h = 0; h < 2; ++h) {
    for (int s = 0; s < 4; ++s) {
      for (int j = 0; j < 32; ++j) codes[128 * h + 32 * s + j] = (b[16 + 32 * h + j] >> (2 * s)) & 3;
    }
  }
}

inline void unpack_q3_k(const uint8_t* __restrict b, uint8_t* __restrict codes, float* scales) {
  const uint8_t* packed = b + 96;
  const float d = half_at(b + 108);
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    scales[g] = d * float((low | high << 4) - 32);
  }
  for (int s = 0; s < 8; ++s) {
    for (int j = 0; j < 32; ++j)
      codes[32 * s + j] = uint8_t(((b[32 + 32 * (s / 4) + j] >> (2 * (s % 4))) & 3) | ((b[j] >> s) & 1) << 2);
  }
}

// The 12 bytes of six-bit scales and minimums of Q4_K and Q5_K, eight each.
inline void scales_and_biases(const uint8_t* b, float* scales, float* biases) {
  const float d = half_at(b), dmin = half_at(b + 2);
  uint32_t low, mid, high;
  __builtin_memcpy(&low, b + 4, 4);
  __builtin_memcpy(&mid, b + 8, 4);
  __builtin_memcpy(&high, b + 12, 4);
  const uint32_t packed[4] = {low & 0x3f3f3f3fu, (high & 0x0f0f0f0fu) | (low >> 2 & 0x30303030u),
                              mid & 0x3f3f3f3fu, (high >> 4 & 0x0f0f0f0fu) | (mid >> 2 & 0x30303030u)};
  uint8_t bytes[16];
  __builtin_memcpy(bytes, packed, 16);
  for (int g = 0; g < 8; ++g) scales[g] = d * float(bytes[g]);
  for (int g = 0; g < 8; ++g) biases[g] = -(dmin * float(bytes[8 + g]));
}

inline void unpack_q4_k(const uint8_t* b, uint8_t* codes, float* scales, float* biases) {
  scales_and_biases(b, scales, biases);
  for (int k = 0; k < 4; ++k) nibbles(b + 16 + 32 * k, codes + 64 * k, 32);
}

inline void unpack_q5_k(const uint8_t* __restrict b, uint8_t* __restrict codes, float* scales,
                        float* biases) {
  scales_and_biases(b, scales, biases);
  for (int k = 0; k < 4; ++k) {
    for (int j = 0; j < 32; ++j) {
      codes[64 * k + j] = uint8_t((b[48 + 32 * k + j] & 15) | ((b[16 + j] >> (2 * k)) & 1) << 4);
      codes[64 * k + 32 + j] = uint8_t((b[48 + 32 * k + j] >> 4) | ((b[16 + j] >> (2 * k + 1)) & 1) << 4);
    }
  }
}

inline void unpack_q6_k(const uint8_t* __restrict b, uint8_t* __restrict codes, float* scales) {
  const float d = half_at(b + 208);
  for (int g = 0; g < 16; ++g) scales[g] = d * float(static_cast<int8_t>(b[192 + g]));
  for (int h = 0; h < 2; ++h) {
    const uint8_t *low = b + 64 * h, *high = b + 128 + 32 * h;
    uint8_t* out = codes + 128 * h;
    for (int j = 0; j < 32; ++j) {
      out[j] = uint8_t((low[j] & 15) | (high[j] & 3) << 4);
      out[32 + j] = uint8_t((low[32 + j] & 15) | (high[j] & 12) << 2);
      out[64 + j] = uint8_t((low[j] >> 4) | (high[j] & 48));
      out[96 + j] = uint8_t((low[32 + j] >> 4) | (high[j] & 192) >> 2);
    }
  }
}

inline void unpack_iq4_xs(const uint8_t* b, uint8_t* codes, float* scales) {
  const float d = half_at(b);
  const uint16_t high = load16(b + 2);
  for (int g = 0; g < 8; ++g) {
    const int low = (b[4 + g / 2] >> (4 * (g % 2))) & 15;
    scales[g] = d * float((low | ((high >> (2 * g)) & 3) << 4) - 32);
    nibbles(b + 8 + 16 * g, codes + 32 * g, 16);
  }
  look_up(kIq4Table, codes, 256);
}

inline float number_at(WeightFormat format, const uint8_t* p, int64_t i) {
  if (format == WeightFormat::kF16) return half_at(p + 2 * i);
  uint32_t bits;
  if (format == WeightFormat::kBF16)
    bits = uint32_t(load16(p + 2 * i)) << 16;
  else
    __builtin_memcpy(&bits, p + 4 * i, 4);
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

// `count` numbers, a multiple of 32, from number k of the row on.
inline void unpack_affine(const WeightRows& w, int64_t row, int64_t k, int count, uint8_t* __restrict codes,
                          float* scales, float* biases) {
  const uint8_t* bytes = w.data + row * w.row_bytes + k * w.bits / 8;
  if (w.bits == 8) {
    __builtin_memcpy(codes, bytes, count);
  } else if (w.bits == 4) {
    for (int i = 0; i < count / 2; ++i) {
      codes[2 * i] = bytes[i] & 15;
      codes[2 * i + 1] = bytes[i] >> 4;
    }
  } else if (w.bits == 2) {
    for (int i = 0; i < count / 4; ++i) {
      for (int s = 0; s < 4; ++s) codes[4 * i + s] = (bytes[i] >> (2 * s)) & 3;
    }
  } else {
    // 3, 5, 6: eight codes in `bits` whole bytes.
    const unsigned mask = (1u << w.bits) - 1;
    for (int i = 0; i < count; i += 8) {
      uint64_t word = 0;
      __builtin_memcpy(&word, bytes, w.bits);
      for (int j = 0; j < 8; ++j) codes[i + j] = uint8_t(word >> (j * w.bits) & mask);
      bytes += w.bits;
    }
  }
  const int64_t groups = w.in / w.group_size;
  for (int g = 0; g < count / 32; ++g) {
    const int64_t at = row * groups + (k + 32 * g) / w.group_size;
    scales[g] = number_at(w.scale_format, w.scales, at);
    biases[g] = number_at(w.scale_format, w.biases, at);
  }
}

/// Numbers [k, k + count) of a row; both multiples of the format's block (32 for kAffine).
inline void unpack(const WeightRows& w, int64_t row, int64_t k, int count, uint8_t* codes, float* scales,
                   float* biases) {
  const uint8_t* b = w.data + row * w.row_bytes;
  switch (w.format) {
    case WeightFormat::kAffine:
      return unpack_affine(w, row, k, count, codes, scales, biases);
    case WeightFormat::kQ2_K:
      for (b += k / 256 * 84; count > 0; count -= 256, b += 84, codes += 256, scales += 16, biases += 16)
        unpack_q2_k(b, codes, scales, biases);
      return;
    case WeightFormat::kQ3_K:
      for (b += k / 256 * 110; count > 0; count -= 256, b += 110, codes += 256, scales += 16)
        unpack_q3_k(b, codes, scales);
      return;
    case WeightFormat::kQ4_K:
      for (b += k / 256 * 144; count > 0; count -= 256, b += 144, codes += 256, scales += 8, biases += 8)
        unpack_q4_k(b, codes, scales, biases);
      return;
    case WeightFormat::kQ5_K:
      for (b += k / 256 * 176; count > 0; count -= 256, b += 176, codes += 256, scales += 8, biases += 8)
        unpack_q5_k(b, codes, scales, biases);
      return;
    case WeightFormat::kQ6_K:
      for (b += k / 256 * 210; count > 0; count -= 256, b += 210, codes += 256, scales += 16)
        unpack_q6_k(b, codes, scales);
      return;
    case WeightFormat::kIQ4_XS:
      for (b += k / 256 * 136; count > 0; count -= 256, b += 136, codes += 256, scales += 8)
        unpack_iq4_xs(b, codes, scales);
      return;
    default:
      break;
  }
  const int block_bytes = w.format == WeightFormat::kQ8_0    ? 34
                          : w.format == WeightFormat::kQ4_1  ? 20
                          : w.format == WeightFormat::kQ5_0  ? 22
                          : w.format == WeightFormat::kQ5_1  ? 24
                          : w.format == WeightFormat::kMXFP4 ? 17
                                                             : 18;
  for (b += k / 32 * block_bytes; count > 0; count -= 32, b += block_bytes, codes += 32)
    unpack_small(w.format, b, codes, scales++, biases++);
}

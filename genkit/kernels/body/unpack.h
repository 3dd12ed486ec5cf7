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

constexpr CodeTraits code_traits(WeightFormat format, int bits) {
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

// What the formats with blocks of 32 consist of: bytes before the codes, and what is among them.
struct Block32 {
  int bytes;
  int nibbles;          // offset of 16 bytes: low halves are codes 0..15, high halves 16..31
  int fifth;            // offset of 32 fifth bits, or 0
  bool biased;          // fp16 bias after the fp16 scale
  const int8_t* table;  // what the codes look up, or null
};
constexpr Block32 block32(WeightFormat format) {
  switch (format) {
    case WeightFormat::kQ4_0:
      return {18, 2, 0, false, nullptr};
    case WeightFormat::kQ4_1:
      return {20, 4, 0, true, nullptr};
    case WeightFormat::kQ5_0:
      return {22, 6, 2, false, nullptr};
    case WeightFormat::kQ5_1:
      return {24, 8, 4, true, nullptr};
    case WeightFormat::kIQ4_NL:
      return {18, 2, 0, false, kIq4Table};
    case WeightFormat::kMXFP4:
      return {17, 1, 0, false, kE2m1Table};
    default:
      return {34, 0, 0, false, nullptr};  // Q8_0
  }
}

#if defined(__AVX2__)
template <WeightFormat kFormat>
inline __m256i codes32(const uint8_t* b) {
  constexpr Block32 t = block32(kFormat);
  const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + t.nibbles));
  __m256i all = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(raw, 4), raw), _mm256_set1_epi8(15));
  if constexpr (t.fifth != 0) {
    uint32_t bits;
    __builtin_memcpy(&bits, b + t.fifth, 4);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    all = _mm256_mask_add_epi8(all, bits, all, _mm256_set1_epi8(16));
#else
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                           2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i mask = _mm256_set1_epi64x(int64_t(0x8040201008040201ull));
    const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(int(bits)), which), mask);
    all = _mm256_or_si256(all, _mm256_and_si256(_mm256_cmpeq_epi8(spread, mask), _mm256_set1_epi8(16)));
#endif
  }
  if constexpr (t.table != nullptr)
    all = _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t.table))), all);
  return all;
}
#endif

template <WeightFormat kFormat>
inline void unpack_codes32(const uint8_t* b, uint8_t* __restrict codes) {
#if defined(__AVX2__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), codes32<kFormat>(b));
#else
  constexpr Block32 t = block32(kFormat);
  nibbles(b + t.nibbles, codes, 16);
  if constexpr (t.fifth != 0) {
    uint32_t bits;
    __builtin_memcpy(&bits, b + t.fifth, 4);
    for (int i = 0; i < 32; ++i) codes[i] |= uint8_t((bits >> i & 1) << 4);
  }
  if constexpr (t.table != nullptr) {
    for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(t.table[codes[i]]);
  }
#endif
}

template <WeightFormat kFormat>
inline void unpack_blocks32(const uint8_t* b, int count, uint8_t* codes, float* scales, float* biases) {
  constexpr Block32 t = block32(kFormat);
  for (int g = 0; g < count / 32; ++g, b += t.bytes, codes += 32) {
    scales[g] = kFormat == WeightFormat::kMXFP4 ? half_of_e8m0(b[0]) : half_at(b);
    if (t.biased) biases[g] = half_at(b + 2);
    if constexpr (kFormat == WeightFormat::kQ8_0)
      __builtin_memcpy(codes, b + 2, 32);
    else
      unpack_codes32<kFormat>(b, codes);
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
  using F = WeightFormat;
  const uint8_t* b = w.data + row * w.row_bytes;
  auto blocks = [&](int bytes, int groups, auto block) {
    for (b += k / 256 * bytes; count > 0;
         count -= 256, b += bytes, codes += 256, scales += groups, biases += groups)
      block();
  };
  auto small = [&](int bytes) { return b + k / 32 * bytes; };
  switch (w.format) {
    case F::kAffine:
      return unpack_affine(w, row, k, count, codes, scales, biases);
    case F::kQ4_0:
      return unpack_blocks32<F::kQ4_0>(small(18), count, codes, scales, biases);
    case F::kQ4_1:
      return unpack_blocks32<F::kQ4_1>(small(20), count, codes, scales, biases);
    case F::kQ5_0:
      return unpack_blocks32<F::kQ5_0>(small(22), count, codes, scales, biases);
    case F::kQ5_1:
      return unpack_blocks32<F::kQ5_1>(small(24), count, codes, scales, biases);
    case F::kQ8_0:
      return unpack_blocks32<F::kQ8_0>(small(34), count, codes, scales, biases);
    case F::kIQ4_NL:
      return unpack_blocks32<F::kIQ4_NL>(small(18), count, codes, scales, biases);
    case F::kMXFP4:
      return unpack_blocks32<F::kMXFP4>(small(17), count, codes, scales, biases);
    case F::kQ2_K:
      return blocks(84, 16, [&] { unpack_q2_k(b, codes, scales, biases); });
    case F::kQ3_K:
      return blocks(110, 16, [&] { unpack_q3_k(b, codes, scales); });
    case F::kQ4_K:
      return blocks(144, 8, [&] { unpack_q4_k(b, codes, scales, biases); });
    case F::kQ5_K:
      return blocks(176, 8, [&] { unpack_q5_k(b, codes, scales, biases); });
    case F::kQ6_K:
      return blocks(210, 16, [&] { unpack_q6_k(b, codes, scales); });
    case F::kIQ4_XS:
      return blocks(136, 8, [&] { unpack_iq4_xs(b, codes, scales); });
    default:
      return;  // dense formats have no codes
  }
}

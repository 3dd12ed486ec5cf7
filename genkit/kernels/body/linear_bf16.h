// Products by tiles of bfloat16 of weights with blocks of 256. Activations and dequantised weights are
// rounded to bfloat16, to the nearest, ties to even; products are summed in fp32, 32 of k after 32 in rising
// order, each in the order of tiles.h. However many activations there are, an output takes the same
// steps, so the bits do not depend on the batch.
//
// The weight is a tile's 16 rows, in the order of k in which it lies, and activations are the columns,
// arranged once a call: one row of activations costs no more than unpacking the weight, which then
// overlaps with reading it. Two tiles of weights meet two of activations, so that every tile that is
// loaded is used twice.
//
// Formats with blocks of 32 stay with int8: for one row, unpacking their scales and codes costs twice
// what int8 dots do, where those with blocks of 256 cost about the same.

inline bool rather_int8(const WeightRows& w) {
  using F = WeightFormat;
  const bool blocks_of_256 = w.format == F::kQ2_K || w.format == F::kQ3_K || w.format == F::kQ4_K ||
                             w.format == F::kQ5_K || w.format == F::kQ6_K || w.format == F::kIQ4_XS;
  return !blocks_of_256 || !fits_lanes(w);
}

/// use(FormatTag) for those that are not rather_int8.
template <class Use>
inline void with_format_of_256(WeightFormat format, Use use) {
  using F = WeightFormat;
  switch (format) {
    case F::kQ2_K:
      return use(FormatTag<F::kQ2_K>());
    case F::kQ3_K:
      return use(FormatTag<F::kQ3_K>());
    case F::kQ4_K:
      return use(FormatTag<F::kQ4_K>());
    case F::kQ5_K:
      return use(FormatTag<F::kQ5_K>());
    case F::kQ6_K:
      return use(FormatTag<F::kQ6_K>());
    default:
      return use(FormatTag<F::kIQ4_XS>());
  }
}

constexpr int kPanelRows = 32;
constexpr int kGroupNumbers = kPanelRows * 32;  // bfloat16s of a group of 32 k: two tiles

// Activations as bfloat16: blocks of up to 16, each [in / 32][16 pairs of k][columns][2].
inline int bf16_columns(int64_t rows) { return static_cast<int>(rows < kRowBlock ? rows : kRowBlock); }

size_t bf16_size(int64_t rows, int64_t in) {
  const int64_t columns = bf16_columns(rows);
  return static_cast<size_t>((rows + columns - 1) / columns * columns * in * 2);
}

inline __m512i to_bf16(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

/// `count` rows of x, `in` apart, to [in / 32][16 pairs][columns][2]; columns past them are zeros.
inline void arrange_bf16(const float* x, int count, int64_t in, int columns, uint8_t* to) {
  alignas(64) uint8_t natural[16 * 64] = {}, turned[16 * 64];
  for (int64_t k = 0; k < in; k += 32, to += 64 * columns) {
    for (int r = 0; r < count; ++r) {
      const float* from = x + r * in + k;
      _mm512_store_si512(natural + 64 * r, to_bf16(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16)));
    }
    if (columns == 1) {
      _mm512_store_si512(to, _mm512_load_si512(natural));
    } else if (columns == 16) {
      interleave(natural, 64, 0, to);
    } else {
      interleave(natural, 64, 0, turned);
      for (int pair = 0; pair < 16; ++pair)
        __builtin_memcpy(to + 4 * columns * pair, turned + 64 * pair, 4 * columns);
    }
  }
}

void round_to_bf16(const float* x, int64_t rows, int64_t in, int64_t block, void* out) {
  const int64_t first = block * kRowBlock, left = rows - first;
  arrange_bf16(x + first * in, static_cast<int>(left < kRowBlock ? left : kRowBlock), in, bf16_columns(rows),
               static_cast<uint8_t*>(out) + first * in * 2);
}

// scale * (code - zero) + bias, rounded after each step as dequantize_row does.
template <bool kBiased>
inline __m512 numbers_of(__m512 codes, const float* scale, const float* bias) {
  const __m512 scaled = _mm512_mul_ps(codes, _mm512_set1_ps(*scale));
  return kBiased ? _mm512_add_ps(scaled, _mm512_set1_ps(*bias)) : scaled;
}

/// kFirst - zero .. kFirst - zero + 15, scaled.
template <class Tag, int kFirst>
inline __m512 sixteen_numbers(const float* scale, const float* bias) {
  constexpr float k = kFirst - Tag::kTraits.zero;
  return numbers_of<Tag::kTraits.biased>(
      _mm512_setr_ps(k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7, k + 8, k + 9, k + 10, k + 11, k + 12,
                     k + 13, k + 14, k + 15),
      scale, bias);
}

// Q4_K and Q5_K: the 16 or 32 numbers that a group of 32 can hold are computed once, and codes look
// themselves up. A lookup among 32 goes by the lowest 5 bits of every word.
template <class Tag>
constexpr int kLookedUpBits = Tag::kValue == WeightFormat::kQ4_K   ? 4
                              : Tag::kValue == WeightFormat::kQ5_K ? 5
                                                                   : 0;

/// A word a code of group g, of which the lowest four bits are the code's.
template <class Tag>
inline __m512i four_bits(const uint8_t* block, int g) {
  // Bytes hold a code of this group and one of its neighbour.
  constexpr int kNibbles = Tag::kValue == WeightFormat::kQ4_K ? 16 : 48;
  const __m512i words = _mm512_cvtepu8_epi16(load32(block + kNibbles + 32 * (g / 2)));
  return g % 2 ? _mm512_srli_epi16(words, 4) : words;
}

inline __m512 widen(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }

/// Group g of a row's block. `scales` and `biases` are the row's within [groups of the format][32].
template <class Tag>
inline __m512i unpack_bf16(const uint8_t* block, int g, const float* scales, const float* biases) {
  constexpr CodeTraits t = Tag::kTraits;
  const float *s = scales + g * kPanelRows, *b = biases + g * kPanelRows;
  if constexpr (kLookedUpBits<Tag> == 4) {
    const __m256i table = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(sixteen_numbers<Tag, 0>(s, b)));
    return _mm512_permutexvar_epi16(four_bits<Tag>(block, g), _mm512_broadcast_i64x4(table));
  } else if constexpr (kLookedUpBits<Tag> == 5) {
    const __m512i table = to_bf16(sixteen_numbers<Tag, 0>(s, b), sixteen_numbers<Tag, 16>(s, b));
    const __mmask32 set =
        _mm256_test_epi8_mask(load32(block + 16), _mm256_set1_epi8(static_cast<char>(1 << g)));
    const __m512i fifth = _mm512_maskz_mov_epi16(set, _mm512_set1_epi16(16));
    // (words & 15) | fifth
    const __m512i codes =
        _mm512_ternarylogic_epi32(four_bits<Tag>(block, g), _mm512_set1_epi16(15), fifth, 0xea);
    return _mm512_permutexvar_epi16(codes, table);
  } else {
    constexpr int kOther = t.group == 16 ? kPanelRows : 0;  // from one scale to that of the second 16
    if constexpr (t.group == 16) {
      s = scales + 2 * g * kPanelRows;
      b = biases + 2 * g * kPanelRows;
    }
    const __m256i codes = codes_of<Tag>(block, g);
    const __m256i whole = t.zero ? _mm256_sub_epi8(codes, _mm256_set1_epi8(t.zero)) : codes;
    const __m512 low = widen(_mm256_castsi256_si128(whole));
    const __m512 high = widen(_mm256_extracti128_si256(whole, 1));
    return to_bf16(numbers_of<t.biased>(low, s, b), numbers_of<t.biased>(high, s + kOther, b + kOther));
  }
}

// Sums of 32 weight rows with kBlocks blocks of activations: tiles 0 and 1 of the first, 2 and 3 of the
// second.
template <int kBlocks>
struct TileSums {
  const uint8_t* x[2];  // where the blocks begin
  int64_t group_bytes;  // of a block, for 32 k
  int64_t stride;       // of a tile's rows

  void clear() const {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (kBlocks == 2) {
      zero_tile<2>();
      zero_tile<3>();
    }
  }
  void add(const uint16_t* panel, int64_t g) const { add(panel, panel + 512, 64, g); }
  /// Of 32 weight rows whose halves begin at `low` and `high`, `row_bytes` a row.
  void add(const uint16_t* low, const uint16_t* high, int64_t row_bytes, int64_t g) const {
    load_tile<4>(low, row_bytes);
    load_tile<6>(x[0] + g * group_bytes, stride);
    add_product<0, 4, 6>();
    load_tile<5>(high, row_bytes);
    add_product<1, 5, 6>();
    if constexpr (kBlocks == 2) {
      load_tile<7>(x[1] + g * group_bytes, stride);
      add_product<2, 4, 7>();
      add_product<3, 5, 7>();
    }
  }
};

// y[m + j][first + r] from the sums [r][j] of 16 weight rows with a block of activations.
template <int T>
inline void write_tile(const LinearTask& task, int columns, int64_t m, int64_t first, int64_t last) {
  alignas(64) float sums[256], by_row[256];
  const int count = static_cast<int>(last - first < 16 ? last - first : 16);
  if (count <= 0) return;
  float* y = task.y + m * task.ldy + first;
  if (columns == 1) {
    store_tile<T>(sums, 4);
    V16 out = load(sums);
    if (task.bias) out = add(out, load_part(task.bias + first, count));
    return store_part(y, out, count);
  }
  store_tile<T>(sums, 64);
  interleave(reinterpret_cast<const uint8_t*>(sums), 64, 0, reinterpret_cast<uint8_t*>(by_row));
  const int rows = static_cast<int>(task.rows - m < columns ? task.rows - m : columns);
  const V16 bias = task.bias ? load_part(task.bias + first, count) : zero();
  for (int r = 0; r < rows; ++r) {
    V16 out = load(by_row + 16 * r);
    if (task.bias) out = add(out, bias);
    if (count == 16)
      store(y + r * task.ldy, out);
    else
      store_part(y + r * task.ldy, out, count);
  }
}

template <int kBlocks>
inline void write_sums(const LinearTask& task, int columns, int64_t m, int64_t first) {
  const int64_t end = task.first + task.count, last = first + kPanelRows < end ? first + kPanelRows : end;
  write_tile<0>(task, columns, m, first, last);
  write_tile<1>(task, columns, m, first + 16, last);
  if constexpr (kBlocks == 2) {
    write_tile<2>(task, columns, m + columns, first, last);
    write_tile<3>(task, columns, m + columns, first + 16, last);
  }
}

// Groups of a panel at a time, powers of two: those that are used at once stay in the nearest cache.
constexpr int64_t kRing = 4, kAllGroups = int64_t{1} << 40;

// Unpacks 32 weight rows into `panel` [min(in / 32, ring)][32][32], calling unpacked(g) when group g lies
// there.
template <class Tag, class Use>
inline void unpack_panel(const WeightRows& w, int64_t first, int count, int64_t ring, uint16_t* panel,
                         const Use& unpacked) {
  constexpr CodeTraits t = Tag::kTraits;
  constexpr int kGroups = Tag::kGroups, kScales = kGroups * 32 / t.group;
  const int64_t row_bytes = static_cast<int64_t>(w.row_bytes), block_bytes = row_bytes * 32 * kGroups / w.in;
  RowGroup rows[kPanelRows / kRowLanes];
  for (int i = 0; i < kPanelRows / kRowLanes; ++i) {
    const int left = count - kRowLanes * i;
    rows[i] = left > 0 ? row_group(w, first + kRowLanes * i, left) : rows[0];
  }
  alignas(64) float scales[kScales * kPanelRows], biases[kScales * kPanelRows];
  const int64_t fetched = kPanelRows * block_bytes / kGroups;
  const uint8_t* ahead = rows[0].base + kPanelRows * row_bytes;  // @see multiply_row
  for (int64_t b = 0; b < w.in / (32 * kGroups); ++b) {
    const int64_t at = b * block_bytes;
    for (int i = 0; i < kPanelRows / kRowLanes; ++i) {
      __m256 s[16], o[16];
      block_scales<Tag>(rows[i], b, at, s, o);
      for (int g = 0; g < kScales; ++g) _mm256_store_ps(scales + g * kPanelRows + kRowLanes * i, s[g]);
      if constexpr (t.biased) {
        for (int g = 0; g < kScales; ++g) _mm256_store_ps(biases + g * kPanelRows + kRowLanes * i, o[g]);
      }
    }
    for (int g = 0; g < kGroups; ++g) {
      for (int64_t i = 0; i < fetched; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      ahead += fetched;
      uint16_t* to = panel + ((b * kGroups + g) & (ring - 1)) * kGroupNumbers;
      for (int i = 0; i < kPanelRows / kRowLanes; ++i) {
#pragma GCC unroll 8
        for (int r = 0; r < kRowLanes; ++r) {
          const int row = kRowLanes * i + r;
          _mm512_store_si512(to + 32 * row,
                             unpack_bf16<Tag>(rows[i].rows[r] + at, g, scales + row, biases + row));
        }
      }
      unpacked(b * kGroups + g);
    }
  }
}

// The first activations are multiplied while the panel is unpacked, two groups later: what a store has
// just written reaches a tile only after it has gone to the cache.
constexpr int kLag = 2;

template <int kBlocks>
inline void multiply_unpacking(const LinearTask& task, int columns, int64_t first, int count,
                               const TileSums<kBlocks>& sums, uint16_t* panel) {
  const WeightRows& w = *task.weight;
  const int64_t groups = w.in / 32;
  sums.clear();
  with_format_of_256(w.format, [&](auto tag) {
    unpack_panel<decltype(tag)>(w, first, count, kRing, panel, [&](int64_t g) {
      if (g >= kLag) sums.add(panel + ((g - kLag) & (kRing - 1)) * kGroupNumbers, g - kLag);
    });
  });
  for (int64_t g = groups < kLag ? 0 : groups - kLag; g < groups; ++g)
    sums.add(panel + (g & (kRing - 1)) * kGroupNumbers, g);
  write_sums<kBlocks>(task, columns, 0, first);
}

template <int kBlocks>
inline void multiply_panel(const LinearTask& task, int columns, int64_t m, int64_t first,
                           const TileSums<kBlocks>& sums, const uint16_t* panel) {
  const int64_t groups = task.weight->in / 32;
  sums.clear();
  for (int64_t g = 0; g < groups; ++g) sums.add(panel + g * kGroupNumbers, g);
  write_sums<kBlocks>(task, columns, m, first);
}

// Weight rows whose panels stay in the second-level cache while all activations pass: each block of them
// is then fetched once for so many rows, not once for 32.
inline int64_t panels_at_a_time(int64_t in) {
  constexpr int64_t kBytes = 512 * 1024;
  const int64_t fit = kBytes / (in * kPanelRows * 2);
  return fit < 1 ? 1 : fit > 8 ? 8 : fit;
}

size_t linear_bf16_scratch(const WeightRows& w) {
  return static_cast<size_t>(panels_at_a_time(w.in) * w.in * kPanelRows * 2 + 64);
}

// Up to 32 activations: every panel meets them while it is unpacked.
inline void multiply_few_bf16(const LinearTask& task, const uint8_t* x, uint16_t* panel) {
  const WeightRows& w = *task.weight;
  const int columns = bf16_columns(task.rows);
  const int64_t block_bytes = columns * w.in * 2;
  for (int done = 0; done < task.count; done += kPanelRows) {
    const int64_t first = task.first + done;
    const int count = task.count - done < kPanelRows ? task.count - done : kPanelRows;
    if (task.rows <= columns)
      multiply_unpacking(task, columns, first, count, TileSums<1>{{x, x}, 64 * columns, 4 * columns}, panel);
    else
      multiply_unpacking(task, columns, first, count,
                         TileSums<2>{{x, x + block_bytes}, 64 * columns, 4 * columns}, panel);
  }
}

inline void multiply_many_bf16(const LinearTask& task, const uint8_t* x, uint16_t* panels) {
  const WeightRows& w = *task.weight;
  const int64_t block_bytes = kRowBlock * w.in * 2, panel_size = w.in * kPanelRows;
  const int64_t blocks = (task.rows + kRowBlock - 1) / kRowBlock;
  const int at_a_time = static_cast<int>(panels_at_a_time(w.in)) * kPanelRows;
  for (int done = 0; done < task.count; done += at_a_time) {
    const int some = task.count - done < at_a_time ? task.count - done : at_a_time;
    for (int r = 0; r < some; r += kPanelRows)
      with_format_of_256(w.format, [&](auto tag) {
        unpack_panel<decltype(tag)>(w, task.first + done + r, some - r < kPanelRows ? some - r : kPanelRows,
                                    kAllGroups, panels + r / kPanelRows * panel_size, [](int64_t) {});
      });
    for (int64_t i = 0; i < blocks; i += 2) {
      const uint8_t* at = x + i * block_bytes;
      for (int r = 0; r < some; r += kPanelRows) {
        const uint16_t* panel = panels + r / kPanelRows * panel_size;
        const int64_t first = task.first + done + r;
        if (i + 1 < blocks)
          multiply_panel(task, kRowBlock, i * kRowBlock, first, TileSums<2>{{at, at + block_bytes}, 1024, 64},
                         panel);
        else
          multiply_panel(task, kRowBlock, i * kRowBlock, first, TileSums<1>{{at, at}, 1024, 64}, panel);
      }
    }
  }
}

void linear_bf16(const LinearTask& task, const void* rounded, void* scratch) {
  uint16_t* panels =
      reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  const uint8_t* x = static_cast<const uint8_t*>(rounded);
  const Tiles shapes(bf16_tiles(bf16_columns(task.rows)));
  if (task.rows <= 2 * kRowBlock)
    multiply_few_bf16(task, x, panels);
  else
    multiply_many_bf16(task, x, panels);
}

// Products of several rows of int8 activations by tile dot products. A tile of 16 weight rows and one
// group of k meets a tile of 16 activations: one instruction gives all 256 integer dots. Weights keep
// the order of k in which they lie, so nothing is interleaved on their side; the activations are, once
// for a whole call (arrange). Every group's dots then take the same steps in floating point as in
// linear_int8.h, in the same order, with activations in the lanes: the bits are the same.

// Tiles 0..3 are dots, 4 and 5 weights, 6 and 7 activations, of `group` numbers of k.
inline TileShapes int8_tiles(int group) {
  TileShapes s;
  for (int i = 0; i < 4; ++i) s.set(i, 16, 64);
  for (int i = 4; i < 6; ++i) s.set(i, 16, group);
  for (int i = 6; i < 8; ++i) s.set(i, group / 4, 64);
  return s;
}

/// Tile D becomes the integer dots of 16 weight rows `w_stride` apart with interleaved activations.
template <int D, bool kUnsigned>
inline void start_dots(const uint8_t* w, int64_t w_stride, const int8_t* x) {
  constexpr int kW = 4 + D % 2, kX = 6 + D % 2;
  zero_tile<D>();
  load_tile<kW>(w, w_stride);
  load_tile<kX>(x, 64);
  if constexpr (kUnsigned)
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kW), "i"(kX) : "memory");
  else
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kW), "i"(kX) : "memory");
}

// 16 activations, as tiles want them.
struct ArrangedRows {
  const int8_t* codes;     // [in / 4][16][4]
  const float* scales;     // [in / 32][16]
  const float* sums;       // [in / 32][16] scale times the sum of the group's codes
  const float* half_sums;  // [in / 16][16] the same of 16 codes
};

inline int64_t arranged_block(int64_t in) { return in * 24; }

inline ArrangedRows arranged_rows(const void* all, int64_t in, int64_t block) {
  const char* at = static_cast<const char*>(all) + block * arranged_block(in);
  ArrangedRows a;
  a.codes = reinterpret_cast<const int8_t*>(at);
  a.scales = reinterpret_cast<const float*>(at + in * 16);
  a.sums = a.scales + in / 32 * 16;
  a.half_sums = a.sums + in / 32 * 16;
  return a;
}

// Up to 8 rows the tiles would be half empty, and measured no faster than linear_int8.h.
constexpr int64_t kFewRows = 8;

inline int64_t plain_size(int64_t rows, int64_t in) {
  return (static_cast<int64_t>(int8_size(rows, in)) + 63) / 64 * 64;
}

size_t int8_tiles_size(int64_t rows, int64_t in) {
  if (rows <= kFewRows) return int8_size(rows, in);
  return static_cast<size_t>(plain_size(rows, in) + (rows + 15) / 16 * arranged_block(in));
}

// Activations 16 block .. 16 block + 15; those past the last are zero.
inline void arrange(const Int8Rows& x, int64_t rows, int64_t in, int64_t block, void* out) {
  const ArrangedRows to = arranged_rows(out, in, block);
  int8_t* codes = const_cast<int8_t*>(to.codes);
  const int64_t first = 16 * block;
  const int count = static_cast<int>(rows - first < 16 ? rows - first : 16);
  alignas(64) uint8_t part[16 * 64] = {}, turned[16 * 64];
  for (int64_t k = 0; k < in; k += 64) {
    const int width = static_cast<int>(in - k < 64 ? in - k : 64);
    if (count == 16 && width == 64) {
      interleave(reinterpret_cast<const uint8_t*>(x.codes + first * in + k), in, 0,
                 reinterpret_cast<uint8_t*>(codes + 16 * k));
      continue;
    }
    for (int r = 0; r < count; ++r) __builtin_memcpy(part + 64 * r, x.codes + (first + r) * in + k, width);
    interleave(part, 64, 0, turned);
    __builtin_memcpy(codes + 16 * k, turned, 16 * width);
  }
  float *scales = const_cast<float*>(to.scales), *sums = const_cast<float*>(to.sums),
        *half_sums = const_cast<float*>(to.half_sums);
  for (int64_t g = 0; g < in / 32; ++g) {
    for (int r = 0; r < 16; ++r) {
      const bool there = r < count;
      const float scale = there ? x.scales[(first + r) * (in / 32) + g] : 0.0f;
      const int32_t* s = x.sums + (first + (there ? r : 0)) * (in / 16) + 2 * g;
      scales[16 * g + r] = scale;
      sums[16 * g + r] = scale * float(s[0] + s[1]);
      half_sums[32 * g + r] = scale * float(s[0]);
      half_sums[32 * g + 16 + r] = scale * float(s[1]);
    }
  }
}

void round_to_int8_tiles(const float* x, int64_t rows, int64_t in, int64_t block, void* out) {
  round_to_int8(x, rows, in, block, out);
  if (rows > kFewRows)
    arrange(int8_rows(out, rows, in), rows, in, block, static_cast<char*>(out) + plain_size(rows, in));
}

// Where the codes of 16 weight rows lie: row r's 32 of group g at codes + r stride + g step.
struct CodeRows {
  const uint8_t* codes;
  int64_t stride, step;
};

// Codes that a tile takes as they lie in the weight: bytes of which nothing is to be subtracted.
template <class Tag>
constexpr bool kTakenAsTheyLie = Tag::kValue == WeightFormat::kQ8_0 ||
                                 (Tag::kValue == WeightFormat::kAffine && Tag::kBits == 8);

// 16 weight rows, ready for tiles: codes [in / 32][16][32], scales and biases as in Tile. For `few`
// activations codes are taken as they lie where that is possible: their rows cross cache lines, which every
// block of activations pays for.
template <class Tag>
inline CodeRows unpack_rows_by_blocks(const WeightRows& w, int64_t first, int count, bool few, Ahead& ahead,
                                      Tile& tile) {
  constexpr CodeTraits t = Tag::kTraits;
  constexpr int kGroups = Tag::kGroups, kScales = kGroups * 32 / t.group;
  const int64_t row_bytes = static_cast<int64_t>(w.row_bytes), block_bytes = row_bytes * 32 * kGroups / w.in;
  RowGroup rows[2];
  for (int h = 0; h < 2; ++h) {
    const int left = count - kRowLanes * h;
    rows[h] = left > 0 ? row_group(w, first + kRowLanes * h, left) : rows[0];
  }
  // A tile reads all its rows, and the weight may end with fewer.
  const bool as_they_lie = kTakenAsTheyLie<Tag> && few && count == kRowBlock;
  const __m256i zeros = _mm256_set1_epi8(t.zero);
  const int64_t blocks = w.in / (32 * kGroups);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t at = b * block_bytes;
    for (int g = 0; g < kGroups; ++g) ahead.fetch();
    for (int h = 0; h < 2; ++h) {
      __m256 scales[16], biases[16];
      block_scales<Tag>(rows[h], b, at, scales, biases);
      const int64_t to = b * kScales * kRowBlock + kRowLanes * h;
      for (int g = 0; g < kScales; ++g) _mm256_storeu_ps(tile.scales + to + g * kRowBlock, scales[g]);
      if constexpr (t.biased) {
        for (int g = 0; g < kScales; ++g) _mm256_storeu_ps(tile.biases + to + g * kRowBlock, biases[g]);
      }
      for (int r = 0; r < kRowLanes && !as_they_lie; ++r) {
        for (int g = 0; g < kGroups; ++g) {
          uint8_t* out = tile.codes + (b * kGroups + g) * 512 + 32 * (kRowLanes * h + r);
          const __m256i codes = codes_of<Tag>(rows[h].rows[r] + at, g);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_sub_epi8(codes, zeros));
        }
      }
    }
  }
  if (!as_they_lie) return {tile.codes, 32, 512};
  constexpr int kBefore = Tag::kValue == WeightFormat::kQ8_0 ? 2 : 0;  // a block begins with its scale
  return {rows[0].base + kBefore, row_bytes, block_bytes};
}

inline CodeRows unpack_rows(const WeightRows& w, int64_t first, int count, bool few, const CodeTraits& t,
                            Ahead& ahead, Tile& tile) {
  CodeRows rows = {tile.codes, 32, 512};
  if (fits_lanes(w) && with_row_format(w, [&](auto tag) {
        rows = unpack_rows_by_blocks<decltype(tag)>(w, first, count, few, ahead, tile);
      }))
    return rows;
  alignas(64) uint8_t codes[kStretch];
  float scales[kStretch / 16], biases[kStretch / 16];
  for (int64_t k = 0; k < w.in; k += kStretch) {
    const int n = static_cast<int>(w.in - k < kStretch ? w.in - k : kStretch);
    for (int i = 0; i < n; i += 32) ahead.fetch();
    for (int r = 0; r < kRowBlock; ++r) {
      // Rows past the last one repeat the first; nobody reads their products.
      const int64_t row = first + (r < count ? r : 0);
      unpack(w, row, k, n, codes, scales, biases);
      for (int g = 0; g < n / t.group; ++g) {
        const int64_t to = (k / t.group + g) * kRowBlock + r;
        tile.scales[to] = scales[g];
        if (t.biased) tile.biases[to] = biases[g];
      }
      for (int c = 0; c < n; ++c) codes[c] = uint8_t(codes[c] - t.zero);
      for (int c = 0; c < n; c += 32)
        __builtin_memcpy(tile.codes + (k + c) * kRowBlock + 32 * r, codes + c, 32);
    }
  }
  return rows;
}

/// y [activation][weight row] of 16 weight rows and a block of activations.
template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_tiles(const Tile& tile, const CodeRows& w, int64_t in, const ArrangedRows& x,
                           Ahead& ahead, float* y) {
  const int64_t groups = in / kGroup;
  const float* sums = kGroup == 16 ? x.half_sums : x.sums;
  V16 total[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) total[r] = zero();
  // While group g is added up, the dots of g + 1 are stored, which were started a step before, and those of
  // g + 2 started: an instruction that waits for the one before it would hold up all that follow.
  alignas(64) int32_t dots[4][256];
  const auto start = [&](auto tile_number, int64_t g) {
    if (g >= groups) return;
    const int64_t k = g * kGroup;
    start_dots<decltype(tile_number)::kValue, kUnsigned>(w.codes + k / 32 * w.step + k % 32, w.stride,
                                                         x.codes + 16 * k);
  };
  const auto finish = [&](auto tile_number, int64_t g) {
    constexpr int D = decltype(tile_number)::kValue;
    if (g < groups) store_tile<D>(dots[D], 64);
  };
  const auto add_up = [&](auto tile_number, int64_t g) {
    constexpr int D = decltype(tile_number)::kValue;
    if (g >= groups) return;
    finish(IntTag<(D + 1) % 4>(), g + 1);
    start(IntTag<(D + 2) % 4>(), g + 2);
    if (g * kGroup % 32 == 0) ahead.fetch();
    const V16 xs = load(x.scales + (g * kGroup / 32) * 16);
    const float *scales = tile.scales + g * kRowBlock, *biases = tile.biases + g * kRowBlock;
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const I16 dot = {_mm512_loadu_si512(dots[D] + 16 * r)};
      total[r] = fma(to_float(dot), mul(xs, set1(scales[r])), total[r]);
    }
    if (!kBiased) return;
    const V16 xsum = load(sums + g * 16);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) total[r] = fma(set1(biases[r]), xsum, total[r]);
  };
  start(IntTag<0>(), 0);
  start(IntTag<1>(), 1);
  finish(IntTag<0>(), 0);
  for (int64_t g = 0; g < groups; g += 4) {
    add_up(IntTag<0>(), g);
    add_up(IntTag<1>(), g + 1);
    add_up(IntTag<2>(), g + 2);
    add_up(IntTag<3>(), g + 3);
  }
  alignas(64) float by_row[256];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(by_row + 16 * r, total[r]);
  interleave(reinterpret_cast<const uint8_t*>(by_row), 64, 0, reinterpret_cast<uint8_t*>(y));
}

template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_all(const LinearTask& task, const CodeTraits& t, const void* arranged, Tile& tile) {
  const WeightRows& w = *task.weight;
  const Tiles shapes(int8_tiles(kGroup));
  for (int done = 0; done < task.count; done += kRowBlock) {
    const int64_t first = task.first + done;
    const int count = task.count - done < kRowBlock ? task.count - done : kRowBlock;
    Ahead ahead(w, first);
    const CodeRows codes = unpack_rows(w, first, count, task.rows <= 2 * kRowBlock, t, ahead, tile);
    for (int64_t m = 0; m < task.rows; m += 16) {
      alignas(64) float y[256];
      const int rows = static_cast<int>(task.rows - m < 16 ? task.rows - m : 16);
      // Stores are made in order: one that waits for its line would hold up those of the tiles.
      for (int r = 0; r < rows; ++r) __builtin_prefetch(task.y + (m + r) * task.ldy + first, 1);
      multiply_tiles<kGroup, kUnsigned, kBiased>(tile, codes, w.in, arranged_rows(arranged, w.in, m / 16),
                                                 ahead, y);
      ahead = Ahead();  // the first activations have fetched all
      for (int r = 0; r < rows; ++r) {
        V16 out = load(y + 16 * r);
        if (task.bias) out = add(out, load_part(task.bias + first, count));
        store_part(task.y + (m + r) * task.ldy + first, out, count);
      }
    }
  }
}

void linear_int8_tiles(const LinearTask& task, const void* rounded, void* scratch) {
  if (task.rows <= kFewRows) return linear_int8(task, rounded, scratch);
  const WeightRows& w = *task.weight;
  const void* x = static_cast<const char*>(rounded) + plain_size(task.rows, w.in);
  const CodeTraits t = code_traits(w.format, w.bits);
  Tile tile = tile_in(scratch, w, t);
  if (t.group == 16) {
    if (t.biased) return multiply_all<16, false, true>(task, t, x, tile);
    return multiply_all<16, false, false>(task, t, x, tile);
  }
  if (t.wide && !t.is_signed) return multiply_all<32, true, true>(task, t, x, tile);
  if (t.biased) return multiply_all<32, false, true>(task, t, x, tile);
  return multiply_all<32, false, false>(task, t, x, tile);
}

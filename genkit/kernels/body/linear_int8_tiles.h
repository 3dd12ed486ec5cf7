// Products of several rows of int8 activations by tile dot products. A tile of 16 activations and one group
// of k, as they lie, meets 16 weight rows of a Tile (int8_tile.h): one instruction gives all 256 integer
// dots. Every group's dots then take the same steps in floating point as in linear_int8.h, in the same order:
// the bits are the same.

static_assert(kSignedPanels, "a panel's codes of 8 bits are a tile as they lie");

// Tiles 0..3 are dots, 4 and 5 activations, 6 and 7 weights, of `group` numbers of k.
inline TileShapes int8_tiles(int group) {
  TileShapes s;
  for (int i = 0; i < 4; ++i) s.set(i, 16, 64);
  for (int i = 4; i < 6; ++i) s.set(i, 16, group);
  for (int i = 6; i < 8; ++i) s.set(i, group / 4, 64);
  return s;
}

// These say exactly what memory they touch, so that the sums of 16 activations stay in registers around them.
// That of activations is said to be longer than it is, which would be wrong for an array of known size.

/// Tile D becomes the integer dots of its activations, `in` apart, with interleaved weights.
template <int D, int kGroup, bool kUnsigned>
inline void start_dots(const int8_t* x, int64_t in, const uint8_t* w) {
  constexpr int kX = 4 + D % 2, kW = 6 + D % 2;
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kX), "r"(x), "r"(in),
               "m"(*reinterpret_cast<const int8_t(*)[1 << 20]>(x)));
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kW), "r"(w), "r"(int64_t{64}),
               "m"(*reinterpret_cast<const uint8_t(*)[16 * kGroup]>(w)));
  asm volatile("tilezero %%tmm%c0" ::"i"(D));
  if constexpr (kUnsigned)
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kX), "i"(kW));
  else
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kX), "i"(kW));
}

template <int D>
inline void store_dots(int32_t (&to)[256]) {
  asm volatile("tilestored %%tmm%c1, (%2,%3,1)" : "=m"(to) : "i"(D), "r"(&to[0]), "r"(int64_t{64}));
}

// Up to 8 rows tiles measured no faster than linear_panels.h, nor did tiles of 8 rows.
constexpr int64_t kFewRows = 8;

// What a block of 16 activations brings into the steps of a group, side by side; zeros past the last one.
struct BlockScales {
  const float* scales;     ///< [in / 32][16]
  const float* sums;       ///< [in / 32][16] scale times the sum of the group's codes
  const float* half_sums;  ///< [in / 16][16] the same of 16 codes
};

inline int64_t block_scales_size(int64_t in) {
  return in / 32 * 16 * 4 * static_cast<int64_t>(sizeof(float));
}

// Where those of the first block lie: behind codes of which a tile reads 16 rows even where fewer are left.
inline int64_t block_scales_at(int64_t rows, int64_t in) {
  return (static_cast<int64_t>(int8_size(rows, in)) + 16 * in + 63) / 64 * 64;
}

inline BlockScales block_scales(const void* rounded, int64_t rows, int64_t in, int64_t block) {
  const char* at =
      static_cast<const char*>(rounded) + block_scales_at(rows, in) + block * block_scales_size(in);
  BlockScales s;
  s.scales = reinterpret_cast<const float*>(at);
  s.sums = s.scales + in / 32 * 16;
  s.half_sums = s.sums + in / 32 * 16;
  return s;
}

size_t int8_tiles_size(int64_t rows, int64_t in) {
  if (rows <= kFewRows) return int8_size(rows, in);
  return static_cast<size_t>(block_scales_at(rows, in) + (rows + 15) / 16 * block_scales_size(in));
}

void round_to_int8_tiles(const float* x, int64_t rows, int64_t in, int64_t block, void* out) {
  round_to_int8(x, rows, in, block, out);
  if (rows <= kFewRows) return;
  const Int8Rows from = int8_rows(out, rows, in);
  const BlockScales to = block_scales(out, rows, in, block);
  float *scales = const_cast<float*>(to.scales), *sums = const_cast<float*>(to.sums),
        *half_sums = const_cast<float*>(to.half_sums);
  const int64_t first = 16 * block;
  for (int r = 0; r < 16; ++r) {
    const bool there = first + r < rows;
    const int64_t row = there ? first + r : first;
    for (int64_t g = 0; g < in / 32; ++g) {
      const float scale = there ? from.scales[row * (in / 32) + g] : 0.0f;
      const int32_t* s = from.sums + row * (in / 16) + 2 * g;
      scales[16 * g + r] = scale;
      sums[16 * g + r] = scale * float(s[0] + s[1]);
      half_sums[32 * g + r] = scale * float(s[0]);
      half_sums[32 * g + 16 + r] = scale * float(s[1]);
    }
  }
}

// 16 weight rows, ready for tiles: codes [in / 4][16][4], and where the scales and biases of a group lie.
struct TileRows {
  const uint8_t* codes;
  const uint8_t *scales, *biases;
  int64_t head_bytes = 0;  // from one block's scales to the next's
  int groups_shift = 0;    // a block has 2^n groups
  WeightFormat scale_format = WeightFormat::kF32;

  const uint8_t* head(const uint8_t* from, int64_t g) const {
    return from + (g >> groups_shift) * head_bytes;
  }
  V16 scale(int64_t g) const { return load_numbers(head(scales, g), scale_format); }
  V16 bias(int64_t g) const { return load_numbers(head(biases, g), scale_format); }
};

/// Rows [first, first + count), whose codes are signed and need nothing subtracted unless they are bytes from
/// 0 up. What is not in panels of such codes is unpacked into `tile`.
inline TileRows tile_rows(const WeightRows& w, int64_t first, int count, const CodeTraits& t, Ahead& ahead,
                          Tile& tile) {
  TileRows rows;
  rows.codes = tile.codes;
  rows.scales = reinterpret_cast<const uint8_t*>(tile.scales);
  rows.biases = reinterpret_cast<const uint8_t*>(tile.biases);
  rows.head_bytes = kRowBlock * sizeof(float);
  if (w.panels != nullptr) {
    const PanelLayout l = panel_layout(w);
    const uint8_t* panel = w.panels + first / kRowBlock * l.bytes();
    ahead = panel_ahead(l, panel, l.bits == 8 ? 1 : 2);
    if (l.super) {
      with_panel_tag(l, [&](auto tag) { unpack_panel<decltype(tag)>(l, panel, t.zero, ahead, tile); });
      return rows;
    }
    if (l.bits == 8)
      rows.codes = panel + l.codes_at();
    else if (l.bits == 5)
      unpack_codes<5>(l, panel, t.zero, ahead, tile.codes);
    else
      unpack_codes<4>(l, panel, t.zero, ahead, tile.codes);
    rows.scales = panel;
    rows.biases = panel + l.scale_bytes();
    rows.head_bytes = l.head_bytes();
    rows.groups_shift = __builtin_ctz(static_cast<unsigned>(l.groups));
    rows.scale_format = l.scale_format;
    return rows;
  }
  ahead = Ahead(w, first);
  unpack_tile(w, first, count, t, ahead, tile);
  for (int64_t i = 0; i < w.in * kRowBlock && tile.correction != 0; i += 64)
    store_codes(tile.codes + i, less(load_codes(tile.codes + i), -tile.correction));
  return rows;
}

// One block of activations, whose codes lie `in` apart, with 16 weight rows.
template <int kGroup, bool kUnsigned, bool kBiased>
struct TileProduct {
  const TileRows& w;
  const int8_t* codes;
  const BlockScales& x;
  int64_t in, groups;
  alignas(64) int32_t dots[4][256];

  TileProduct(const TileRows& rows, const int8_t* of, const BlockScales& scales, int64_t width)
      : w(rows), codes(of), x(scales), in(width), groups(width / kGroup) {}

  template <int D>
  __attribute__((always_inline)) inline void start(int64_t g) {
    const int64_t k = g * kGroup;
    if (g < groups) start_dots<D, kGroup, kUnsigned>(codes + k, in, w.codes + k * kRowBlock);
  }
  template <int D>
  __attribute__((always_inline)) inline void finish(int64_t g) {
    if (g < groups) store_dots<D>(dots[D]);
  }
  template <int D>
  __attribute__((always_inline)) inline void add_up(int64_t g, Ahead& ahead, V16 (&total)[16]) {
    if (g >= groups) return;
    start<(D + 2) % 4>(g + 2);
    finish<(D + 1) % 4>(g + 1);
    if (g * kGroup % 32 == 0) ahead.fetch();
    const V16 scale = w.scale(g);
    const float* xs = x.scales + g * kGroup / 32 * 16;
    for_each_of<16>([&](auto row) __attribute__((always_inline)) {
      constexpr int r = decltype(row)::kValue;
      const I16 dot = {_mm512_load_si512(dots[D] + 16 * r)};
      total[r] = fma(to_float(dot), mul(scale, set1(xs[r])), total[r]);
    });
    if constexpr (!kBiased) return;
    const V16 bias = w.bias(g);
    const float* sums = (kGroup == 16 ? x.half_sums : x.sums) + 16 * g;
    for_each_of<16>([&](auto row) __attribute__((always_inline)) {
      constexpr int r = decltype(row)::kValue;
      total[r] = fma(bias, set1(sums[r]), total[r]);
    });
  }
};

/// out[r]: the products of 16 weight rows with activation r of a block.
template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_tiles(const TileRows& w, int64_t in, const int8_t* codes, const BlockScales& x,
                           Ahead& ahead, V16* out) {
  TileProduct<kGroup, kUnsigned, kBiased> product(w, codes, x, in);
  V16 total[16];
  for_each_of<16>([&](auto r) __attribute__((always_inline)) { total[decltype(r)::kValue] = zero(); });
  // While group g is added up, the dots of g + 1 are stored, which were started a step before, and those of
  // g + 2 started: an instruction that waits for the one before it would hold up all that follow.
  product.template start<0>(0);
  product.template start<1>(1);
  product.template finish<0>(0);
  for (int64_t g = 0; g < product.groups; g += 4) {
    product.template add_up<0>(g, ahead, total);
    product.template add_up<1>(g + 1, ahead, total);
    product.template add_up<2>(g + 2, ahead, total);
    product.template add_up<3>(g + 3, ahead, total);
  }
  for_each_of<16>([&](auto r) __attribute__((always_inline)) {
    out[decltype(r)::kValue] = total[decltype(r)::kValue];
  });
}

template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_all(const LinearTask& task, const CodeTraits& t, const void* rounded, Tile& tile) {
  const WeightRows& w = *task.weight;
  const int8_t* codes = int8_rows(rounded, task.rows, w.in).codes;
  const Tiles shapes(int8_tiles(kGroup));
  LinearTask block = task;
  for (int done = 0; done < task.count; done += kRowBlock) {
    block.first = task.first + done;
    block.count = task.count - done < kRowBlock ? task.count - done : kRowBlock;
    Ahead ahead;
    const TileRows rows = tile_rows(w, block.first, block.count, t, ahead, tile);
    for (int64_t m = 0; m < task.rows; m += 16) {
      const int count = static_cast<int>(task.rows - m < 16 ? task.rows - m : 16);
      // Stores are made in order: one that waits for its line would hold up those of the tiles.
      for (int r = 0; r < count; ++r) __builtin_prefetch(task.y + (m + r) * task.ldy + block.first, 1);
      V16 total[16];
      multiply_tiles<kGroup, kUnsigned, kBiased>(
          rows, w.in, codes + m * w.in, block_scales(rounded, task.rows, w.in, m / 16), ahead, total);
      ahead = Ahead();  // the first activations have fetched all
      write_rows(block, m, count, total);
    }
  }
}

void linear_int8_tiles(const LinearTask& task, const void* rounded, void* scratch) {
  if (task.rows <= kFewRows) return linear_int8(task, rounded, scratch);
  const WeightRows& w = *task.weight;
  const CodeTraits t = code_traits(w.format, w.bits);
  Tile tile = tile_in(scratch, w, t);
  if (t.group == 16) {
    if (t.biased) return multiply_all<16, false, true>(task, t, rounded, tile);
    return multiply_all<16, false, false>(task, t, rounded, tile);
  }
  if (t.wide && !t.is_signed) return multiply_all<32, true, true>(task, t, rounded, tile);
  if (t.biased) return multiply_all<32, false, true>(task, t, rounded, tile);
  return multiply_all<32, false, false>(task, t, rounded, tile);
}

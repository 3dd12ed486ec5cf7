// Products of several rows of int8 activations by tile dot products. A tile of 16 activations and one group
// of k, as they lie, meets 16 weight rows of a Tile (int8_tile.h): one instruction gives all 256 integer
// dots. Every group's dots then take the same steps in floating point as in linear_int8.h, in the same order:
// the bits are the same.

// Tiles 0..3 are dots, 4 and 5 activations, 6 and 7 weights, of `group` numbers of k.
inline TileShapes int8_tiles(int group) {
  TileShapes s;
  for (int i = 0; i < 4; ++i) s.set(i, 16, 64);
  for (int i = 4; i < 6; ++i) s.set(i, 16, group);
  for (int i = 6; i < 8; ++i) s.set(i, group / 4, 64);
  return s;
}

/// Tile D becomes the integer dots of 16 activations, `in` apart, with interleaved weights.
template <int D, bool kUnsigned>
inline void start_dots(const int8_t* x, int64_t in, const uint8_t* w) {
  constexpr int kX = 4 + D % 2, kW = 6 + D % 2;
  zero_tile<D>();
  load_tile<kX>(x, in);
  load_tile<kW>(w, 64);
  if constexpr (kUnsigned)
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kX), "i"(kW) : "memory");
  else
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(D), "i"(kX), "i"(kW) : "memory");
}

// Up to 8 rows the tiles would be half empty, and measured no faster than linear_panels.h.
constexpr int64_t kFewRows = 8;

// A tile reads 16 activations even where fewer are left.
size_t int8_tiles_size(int64_t rows, int64_t in) {
  return int8_size(rows, in) + static_cast<size_t>(16 * in);
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
  if (w.panels != nullptr) {
    const PanelLayout l = panel_layout(w);
    const uint8_t* panel = w.panels + first / kRowBlock * l.bytes();
    ahead = panel_ahead(l, panel, l.bits == 8 ? 1 : 2);
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
  rows.scales = reinterpret_cast<const uint8_t*>(tile.scales);
  rows.biases = reinterpret_cast<const uint8_t*>(tile.biases);
  rows.head_bytes = kRowBlock * sizeof(float);
  return rows;
}

/// total[r]: the products of 16 weight rows with activation m + r of `count`.
template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_tiles(const TileRows& w, int64_t in, const Int8Rows& x, int64_t m, int count,
                           Ahead& ahead, V16* total) {
  const int64_t groups = in / kGroup, per_scale = in / 32, per_sum = in / 16;
  // Rows past the last repeat it; nobody reads their products.
  const float* scales_x[16];
  for (int r = 0; r < 16; ++r) scales_x[r] = x.scales + (m + (r < count ? r : count - 1)) * per_scale;
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) total[r] = zero();
  // While group g is added up, the dots of g + 1 are stored, which were started a step before, and those of
  // g + 2 started: an instruction that waits for the one before it would hold up all that follow.
  alignas(64) int32_t dots[4][256];
  const auto start = [&](auto tile_number, int64_t g) {
    if (g >= groups) return;
    const int64_t k = g * kGroup;
    start_dots<decltype(tile_number)::kValue, kUnsigned>(x.codes + m * in + k, in, w.codes + k * kRowBlock);
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
    const int64_t k = g * kGroup;
    if (k % 32 == 0) ahead.fetch();
    const V16 scale = w.scale(g);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const I16 dot = {_mm512_load_si512(dots[D] + 16 * r)};
      total[r] = fma(to_float(dot), mul(scale, set1(scales_x[r][k / 32])), total[r]);
    }
    if constexpr (!kBiased) return;
    const V16 bias = w.bias(g);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const int32_t* s = x.sums + (m + (r < count ? r : count - 1)) * per_sum + k / 16;
      const int32_t sum = kGroup == 16 ? s[0] : s[0] + s[1];
      total[r] = fma(bias, set1(scales_x[r][k / 32] * float(sum)), total[r]);
    }
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
}

template <int kGroup, bool kUnsigned, bool kBiased>
inline void multiply_all(const LinearTask& task, const CodeTraits& t, const Int8Rows& x, Tile& tile) {
  const WeightRows& w = *task.weight;
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
      multiply_tiles<kGroup, kUnsigned, kBiased>(rows, w.in, x, m, count, ahead, total);
      ahead = Ahead();  // the first activations have fetched all
      write_rows(block, m, count, total);
    }
  }
}

void linear_int8_tiles(const LinearTask& task, const void* rounded, void* scratch) {
  if (task.rows <= kFewRows) return linear_int8(task, rounded, scratch);
  const WeightRows& w = *task.weight;
  const Int8Rows x = int8_rows(rounded, task.rows, w.in);
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

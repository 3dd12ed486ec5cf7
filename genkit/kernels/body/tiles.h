// Tile registers. What this promises about an instruction's sums was measured: for a pair of tiles
// [16][32] and [16 pairs][16][2] of bfloat16, tdpbf16ps adds to every number of [16][16]
//   even + odd, where even = fma chain over the products of k = 0, 2, .., 30 in rising order from 0,
//   odd = the same over k = 1, 3, .., 31,
// with numbers below 2^-126 taken as and rounded to zero. tests/kernels/linear_test.cpp computes the
// same in plain C++ and expects the same bits.
//
// Every asm statement says that it touches memory: the compiler's own intrinsics do not, and stores to
// what a tile is loaded from have been moved past the load.

struct TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int row_count, int bytes) {
    rows[tile] = static_cast<uint8_t>(row_count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

/// 0..3 are sums [16][columns], 4 and 5 [16][32] bfloat16, 6 and 7 [16 pairs][columns][2].
inline TileShapes bf16_tiles(int columns) {
  TileShapes s;
  for (int i = 0; i < 8; ++i) s.set(i, 16, i == 4 || i == 5 ? 64 : 4 * columns);
  return s;
}

/// Tiles of these shapes until the end of the scope.
class Tiles {
 public:
  explicit Tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes) : "memory"); }
  // Released tiles need not be saved when the thread changes.
  ~Tiles() { asm volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

template <int T>
inline void load_tile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(from), "r"(stride) : "memory");
}
template <int T>
inline void store_tile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(to), "r"(stride) : "memory");
}
template <int T>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T) : "memory");
}
/// Tile C += tile A [16][32] times tile B [16 pairs][columns][2].
template <int C, int A, int B>
inline void add_product() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B) : "memory");
}

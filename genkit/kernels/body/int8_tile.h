// Blocks of 16 weight rows as the int8 kernels multiply them: a row in every lane, four numbers of k at a
// step.

constexpr int kStretch = 256;  // numbers of k unpacked at a time

// A block of 16 weight rows, ready for dot4: codes [in / 4][16][4], scales and biases [groups][16].
struct Tile {
  uint8_t* codes;
  float* scales;
  float* biases;
  int correction;  // times the sum of the activation's codes, added to every integer dot
};

inline int64_t padded(int64_t in) { return (in + 63) / 64 * 64; }

size_t linear_int8_scratch(const WeightRows& w) {
  const size_t groups = static_cast<size_t>(w.in) / code_traits(w.format, w.bits).group;
  return static_cast<size_t>(padded(w.in)) * kRowBlock + 2 * groups * kRowBlock * sizeof(float) + 128;
}

// Fetches the next 16 weight rows while these are unpacked and multiplied, half in either phase: rows side by
// side are no pattern that the processor follows, and it has so few requests under way at a time that none
// may be missing. Past the end of the weight this reads nothing and does no harm.
class Ahead {
 public:
  Ahead() = default;
  /// @param from where the next rows lie; `bytes` are fetched in `groups` shares.
  Ahead(const uint8_t* from, int64_t bytes, int64_t groups)
      : line_(from), end_(from), step_(bytes / groups) {}
  Ahead(const WeightRows& w, int64_t first)
      : Ahead(w.data + (first + kRowBlock) * static_cast<int64_t>(w.row_bytes),
              kRowBlock * static_cast<int64_t>(w.row_bytes) / 2, w.in / 32) {}

  /// The share of 32 numbers of k.
  void fetch() {
    for (end_ += step_; line_ < end_; line_ += 64) __builtin_prefetch(line_, 0, 2);
  }

 private:
  const uint8_t *line_ = nullptr, *end_ = nullptr;
  int64_t step_ = 0;
};

#if defined(__AVX2__)
template <class Tag>
inline void unpack_tile_by_blocks(const WeightRows& w, int64_t first, int count, uint8_t flip, Ahead& ahead,
                                  Tile& tile) {
  constexpr CodeTraits t = Tag::kTraits;
  constexpr int kGroups = Tag::kGroups, kScales = kGroups * 32 / t.group;
  const int64_t row_bytes = static_cast<int64_t>(w.row_bytes), block_bytes = row_bytes * 32 * kGroups / w.in;
  alignas(64) uint8_t codes[kRowBlock * kStretch];
  if (w.in % 64 != 0) __builtin_memset(codes, 0, sizeof codes);
  RowGroup rows[2];
  for (int h = 0; h < 2; ++h) {
    const int left = count - kRowLanes * h;
    rows[h] = left > 0 ? row_group(w, first + kRowLanes * h, left) : rows[0];
  }
  int64_t at = 0, group = 0;
  for (int64_t k = 0; k < w.in; k += kStretch) {
    const int n = static_cast<int>(w.in - k < kStretch ? w.in - k : kStretch);
    for (int c = 0; c < n; c += 32 * kGroups, at += block_bytes, group += kScales) {
      for (int g = 0; g < kGroups; ++g) ahead.fetch();
      for (int h = 0; h < 2; ++h) {
        __m256 scales[16], biases[16];
        block_scales<Tag>(rows[h], (k + c) / (32 * kGroups), at, scales, biases);
        const int64_t to = group * kRowBlock + kRowLanes * h;
        for (int g = 0; g < kScales; ++g) _mm256_storeu_ps(tile.scales + to + g * kRowBlock, scales[g]);
        if constexpr (t.biased) {
          for (int g = 0; g < kScales; ++g) _mm256_storeu_ps(tile.biases + to + g * kRowBlock, biases[g]);
        }
        for (int r = 0; r < kRowLanes; ++r) {
          uint8_t* out = codes + (kRowLanes * h + r) * kStretch + c;
          for (int g = 0; g < kGroups; ++g)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * g),
                                codes_of<Tag>(rows[h].rows[r] + at, g));
        }
      }
    }
    for (int c = 0; c < n; c += 64) interleave(codes + c, kStretch, flip, tile.codes + (k + c) * kRowBlock);
  }
}
#endif

// What turns a format's codes into those of a tile: `flip` is added to each, modulo 256.
struct TileCodes {
  uint8_t flip = 0;
  int correction = 0;
};
inline TileCodes tile_codes(const CodeTraits& t) {
  if (kUnsignedCodes && t.is_signed) return {128, -128};
  if (!kUnsignedCodes && t.wide && !t.is_signed) return {128, 128};
  return {0, -t.zero};
}

inline void unpack_tile(const WeightRows& w, int64_t first, int count, const CodeTraits& t, Ahead& ahead,
                        Tile& tile) {
  const uint8_t flip = tile_codes(t).flip;
  tile.correction = tile_codes(t).correction;
#if defined(__AVX2__)
  if (fits_lanes(w) && with_row_format(w, [&](auto tag) {
        unpack_tile_by_blocks<decltype(tag)>(w, first, count, flip, ahead, tile);
      }))
    return;
#endif
  alignas(64) uint8_t codes[kRowBlock * kStretch];
  float scales[kStretch / 16], biases[kStretch / 16];
  if (count < kRowBlock || w.in % 64 != 0) __builtin_memset(codes, 0, sizeof codes);
  for (int64_t k = 0; k < w.in; k += kStretch) {
    const int n = static_cast<int>(w.in - k < kStretch ? w.in - k : kStretch);
    const int64_t group = k / t.group;
    for (int i = 0; i < n; i += 32) ahead.fetch();
    for (int r = 0; r < kRowBlock; ++r) {
      float* to = tile.scales + group * kRowBlock + r;
      float* bias_to = tile.biases + group * kRowBlock + r;
      if (r >= count) {
        for (int g = 0; g < n / t.group; ++g) to[g * kRowBlock] = bias_to[g * kRowBlock] = 0;
        continue;
      }
      unpack(w, first + r, k, n, codes + r * kStretch, scales, biases);
      for (int g = 0; g < n / t.group; ++g) to[g * kRowBlock] = scales[g];
      if (t.biased) {
        for (int g = 0; g < n / t.group; ++g) bias_to[g * kRowBlock] = biases[g];
      }
    }
    for (int c = 0; c < n; c += 64) interleave(codes + c, kStretch, flip, tile.codes + (k + c) * kRowBlock);
  }
}

inline Tile tile_in(void* scratch, const WeightRows& w, const CodeTraits& t) {
  char* memory = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  Tile tile;
  tile.codes = reinterpret_cast<uint8_t*>(memory);
  tile.scales = reinterpret_cast<float*>(memory + padded(w.in) * kRowBlock);
  tile.biases = tile.scales + w.in / t.group * kRowBlock;
  tile.correction = 0;
  return tile;
}

/// Rows m .. m + count - 1 of up to 16 columns.
inline void write_rows(const LinearTask& task, int64_t m, int count, const V16* rows) {
  for (int r = 0; r < count; ++r) {
    const V16 out = task.bias ? add(rows[r], load_part(task.bias + task.first, task.count)) : rows[r];
    float* y = task.y + (m + r) * task.ldy + task.first;
    if (task.count == kRowBlock)
      store(y, out);
    else
      store_part(y, out, task.count);
  }
}

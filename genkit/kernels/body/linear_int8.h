// Products of quantised weights with int8 activations. For an output, group by group of k in
// rising order: sum += float(integer dot) * (weight scale * activation scale), fused, then, where
// the format has biases, sum += bias * (activation scale * sum of codes), fused. The integer dots
// are exact, so the bits depend neither on the batch nor on how a target finds them.

inline int32_t sum_of_codes(const int8_t* codes) {
#if defined(__AVX2__)
  const __m128i pairs =
      _mm_maddubs_epi16(_mm_set1_epi8(1), _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
  __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
  fours = _mm_add_epi32(fours, _mm_unpackhi_epi64(fours, fours));
  return _mm_cvtsi128_si32(_mm_add_epi32(fours, _mm_shuffle_epi32(fours, 1)));
#else
  int32_t total = 0;
  for (int i = 0; i < 16; ++i) total += codes[i];
  return total;
#endif
}

// Activations carry one scale for every 32 numbers.
void quantize(const float* x, int64_t in, int8_t* codes, float* scales, int32_t* sums) {
  for (int64_t k = 0; k < in; k += 32) {
    const V16 a = load(x + k), b = load(x + k + 16);
    const float top = largest(max(abs(a), abs(b)));
    // NaN when any number is infinite or NaN; then every product is NaN too, by the scale.
    const float finite = sum(mul(add(a, b), zero()));
    if (finite == 0.0f && top > 1e-30f) {
      const V16 inverse = set1(127.0f / top);
      store_int8(codes + k, mul(a, inverse));
      store_int8(codes + k + 16, mul(b, inverse));
      scales[k / 32] = top / 127.0f;
    } else {
      __builtin_memset(codes + k, 0, 32);
      scales[k / 32] = finite == 0.0f ? 0.0f : __builtin_nanf("");
    }
    for (int h = 0; h < 2; ++h) sums[k / 16 + h] = sum_of_codes(codes + k + 16 * h);
  }
}

size_t int8_size(int64_t rows, int64_t in) { return static_cast<size_t>(rows * (in + in / 32 * 12)); }

void round_to_int8(const float* x, int64_t rows, int64_t in, int64_t block, void* out) {
  const Int8Rows to = int8_rows(out, rows, in);
  const int64_t end = (block + 1) * kRowBlock < rows ? (block + 1) * kRowBlock : rows;
  for (int64_t r = block * kRowBlock; r < end; ++r)
    quantize(x + r * in, in, const_cast<int8_t*>(to.codes) + r * in,
             const_cast<float*>(to.scales) + r * (in / 32), const_cast<int32_t*>(to.sums) + r * (in / 16));
}

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
  Ahead(const WeightRows& w, int64_t first)
      : line_(w.data + (first + kRowBlock) * static_cast<int64_t>(w.row_bytes)),
        end_(line_),
        step_(kRowBlock * static_cast<int64_t>(w.row_bytes) * 32 / w.in / 2) {}

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

inline void unpack_tile(const WeightRows& w, int64_t first, int count, const CodeTraits& t, Ahead& ahead,
                        Tile& tile) {
  uint8_t flip = 0;
  tile.correction = -t.zero;
  if (kUnsignedCodes && t.is_signed) {
    flip = 128;
    tile.correction = -128;
  } else if (!kUnsignedCodes && t.wide && !t.is_signed) {
    flip = 128;
    tile.correction = 128;
  }
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

// How many products of four codes and activations the target may add up in 16 bits: the greatest code
// times 127, twice a step. 0 for codes of 8 bits.
constexpr int narrow_steps(WeightFormat format, int bits) {
  switch (format) {
    case WeightFormat::kQ5_0:
    case WeightFormat::kQ5_1:
    case WeightFormat::kQ5_K:
      return 4;
    case WeightFormat::kQ6_K:
      return 2;
    case WeightFormat::kAffine:
      return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 0;
    default:
      return code_traits(format, bits).wide ? 0 : 8;
  }
}

/// dot[r] += the integer dots of kCodes codes with activation m + r.
template <int R, int kCodes, int kSteps>
inline void dot_codes(const uint8_t* w, const int8_t* x, int64_t ldx, I16* dot) {
  if constexpr (kPairSums && kSteps > 0) {
    constexpr int kStretch = kSteps < kCodes / 4 ? kSteps : kCodes / 4;
    for (int j = 0; j < kCodes / 4; j += kStretch) {
      I16 pairs[R];
      for (int r = 0; r < R; ++r) pairs[r] = set1_int(0);
      for (int i = j; i < j + kStretch; ++i) {
        for (int r = 0; r < R; ++r) pairs[r] = add_pairs(pairs[r], w + 64 * i, x + r * ldx + 4 * i);
      }
      for (int r = 0; r < R; ++r) dot[r] = add_widened(dot[r], pairs[r]);
    }
  } else {
    for (int j = 0; j < kCodes / 4; ++j) {
      for (int r = 0; r < R; ++r) dot[r] = dot4<(kSteps > 0)>(dot[r], w + 64 * j, x + r * ldx + 4 * j);
    }
  }
}

template <int R, int kGroup, int kSteps, bool kBiased>
inline void multiply_codes(const Tile& tile, int64_t in, const Int8Rows& x, int64_t m, Ahead& ahead,
                           V16* acc) {
  V16 total[R];
  for (int r = 0; r < R; ++r) total[r] = zero();
  const int64_t per_scale = in / 32, per_sum = in / 16;
  for (int64_t g = 0; g < in / kGroup; ++g) {
    const int64_t k = g * kGroup;
    if (k % 32 == 0) ahead.fetch();
    int32_t sums[R];
    I16 dot[R];
    for (int r = 0; r < R; ++r) {
      const int32_t* s = x.sums + (m + r) * per_sum + k / 16;
      sums[r] = kGroup == 16 ? s[0] : s[0] + s[1];
      dot[r] = set1_int(tile.correction * sums[r]);
    }
    dot_codes<R, kGroup, kSteps>(tile.codes + k * kRowBlock, x.codes + m * in + k, in, dot);
    const V16 scale = load(tile.scales + g * kRowBlock);
    for (int r = 0; r < R; ++r) {
      const float xs = x.scales[(m + r) * per_scale + k / 32];
      total[r] = fma(to_float(dot[r]), mul(scale, set1(xs)), total[r]);
      if (kBiased) total[r] = fma(load(tile.biases + g * kRowBlock), set1(xs * float(sums[r])), total[r]);
    }
  }
  for (int r = 0; r < R; ++r) acc[r] = total[r];
}

template <int kGroup, int kSteps, bool kBiased>
inline int multiply_some(const Tile& tile, int64_t in, const Int8Rows& x, int64_t m, int64_t left,
                         Ahead& ahead, V16* acc) {
  if (left >= kPanel) {
    multiply_codes<kPanel, kGroup, kSteps, kBiased>(tile, in, x, m, ahead, acc);
    return kPanel;
  }
  if (kPanel > 4 && left >= 4) {
    multiply_codes<4, kGroup, kSteps, kBiased>(tile, in, x, m, ahead, acc);
    return 4;
  }
  if (kPanel > 2 && left >= 2) {
    multiply_codes<2, kGroup, kSteps, kBiased>(tile, in, x, m, ahead, acc);
    return 2;
  }
  multiply_codes<1, kGroup, kSteps, kBiased>(tile, in, x, m, ahead, acc);
  return 1;
}

template <int kGroup, int kSteps, bool kBiased>
inline void multiply_tile(const LinearTask& task, const Tile& tile, const Int8Rows& x, Ahead ahead) {
  const int64_t in = task.weight->in;
  for (int64_t m = 0; m < task.rows;) {
    V16 acc[kPanel];
    const int done = multiply_some<kGroup, kSteps, kBiased>(tile, in, x, m, task.rows - m, ahead, acc);
    ahead = Ahead();  // the first activations have fetched all
    for (int r = 0; r < done; ++r) {
      if (task.bias) acc[r] = add(acc[r], load_part(task.bias + task.first, task.count));
      float* y = task.y + (m + r) * task.ldy + task.first;
      if (task.count == kRowBlock)
        store(y, acc[r]);
      else
        store_part(y, acc[r], task.count);
    }
    m += done;
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

template <int kSteps>
inline void multiply_unpacked(const LinearTask& task, const CodeTraits& t, const Int8Rows& x,
                              const Tile& tile, const Ahead& ahead) {
  if (t.group == 16) {
    if (t.biased) return multiply_tile<16, kSteps, true>(task, tile, x, ahead);
    return multiply_tile<16, kSteps, false>(task, tile, x, ahead);
  }
  if (t.biased) return multiply_tile<32, kSteps, true>(task, tile, x, ahead);
  return multiply_tile<32, kSteps, false>(task, tile, x, ahead);
}

inline void multiply_block(const LinearTask& task, const CodeTraits& t, const Int8Rows& x, Tile& tile) {
  const WeightRows& w = *task.weight;
  Ahead ahead(w, task.first);
  unpack_tile(w, task.first, task.count, t, ahead, tile);
  const int steps = narrow_steps(w.format, w.bits);
  if (steps == 0) return multiply_unpacked<0>(task, t, x, tile, ahead);
  if (!kPairSums || steps == 8) return multiply_unpacked<8>(task, t, x, tile, ahead);
  if (steps == 4) return multiply_unpacked < kPairSums ? 4 : 8 > (task, t, x, tile, ahead);
  return multiply_unpacked < kPairSums ? 2 : 8 > (task, t, x, tile, ahead);
}

void linear_int8(const LinearTask& task, const void* rounded, void* scratch) {
  const Int8Rows x = int8_rows(rounded, task.rows, task.weight->in);
  if (linear_row(task, x)) return;
  const CodeTraits t = code_traits(task.weight->format, task.weight->bits);
  Tile tile = tile_in(scratch, *task.weight, t);
  LinearTask block = task;
  for (int done = 0; done < task.count; done += kRowBlock) {
    block.first = task.first + done;
    block.count = task.count - done < kRowBlock ? task.count - done : kRowBlock;
    multiply_block(block, t, x, tile);
  }
}

// Products of quantised weights with int8 activations. For an output, group by group of k in
// rising order: sum += float(integer dot) * (weight scale * activation scale), fused, then, where
// the format has biases, sum += bias * (activation scale * sum of codes), fused. The integer dots
// are exact, so the bits depend neither on the batch nor on how a target finds them.

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
        for (int r = 0; r < R; ++r)
          pairs[r] = add_pairs(pairs[r], load_codes(w + 64 * i), x + r * ldx + 4 * i);
      }
      for (int r = 0; r < R; ++r) dot[r] = add_widened(dot[r], pairs[r]);
    }
  } else {
    for (int j = 0; j < kCodes / 4; ++j) {
      for (int r = 0; r < R; ++r)
        dot[r] = dot4<(kSteps > 0)>(dot[r], load_codes(w + 64 * j), x + r * ldx + 4 * j);
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
    write_rows(task, m, done, acc);
    m += done;
  }
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
  const Ahead ahead = fill_tile(w, task.first, task.count, t, tile);
  const int steps = narrow_steps(w.format, w.bits);
  if (steps == 0) return multiply_unpacked<0>(task, t, x, tile, ahead);
  if (!kPairSums || steps == 8) return multiply_unpacked<8>(task, t, x, tile, ahead);
  if (steps == 4) return multiply_unpacked < kPairSums ? 4 : 8 > (task, t, x, tile, ahead);
  return multiply_unpacked < kPairSums ? 2 : 8 > (task, t, x, tile, ahead);
}

void linear_int8(const LinearTask& task, const void* rounded, void* scratch) {
  const Int8Rows x = int8_rows(rounded, task.rows, task.weight->in);
  if (task.weight->panels && task.rows <= kPanel)
    return multiply_panels(task, few_rows(rounded, task.rows, task.weight->in), scratch);
  if (!task.weight->panels && linear_row(task, x)) return;
  const CodeTraits t = code_traits(task.weight->format, task.weight->bits);
  Tile tile = tile_in(scratch, *task.weight, t);
  LinearTask block = task;
  for (int done = 0; done < task.count; done += kRowBlock) {
    block.first = task.first + done;
    block.count = task.count - done < kRowBlock ? task.count - done : kRowBlock;
    multiply_block(block, t, x, tile);
  }
}

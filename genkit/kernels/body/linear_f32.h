// Products in fp32. Every output is one vector of 16 partial sums, lane l over the k with
// k mod 16 = l in rising order, added up by sums4() at the end: the same bits for one row of
// activations and for many, for every blocking, and for every target with a fused multiply-add.

constexpr int64_t kDepth = 512;  // numbers of k at a time, so that a panel of each side stays in L1

// R x C accumulators over [0, depth); adds to what `acc` holds.
template <int R, int C>
inline void multiply_panel(const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t depth,
                           V16* acc) {
  V16 sum_of[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sum_of[r][c] = acc[r * C + c];
  }
  int64_t k = 0;
  for (; k + 16 <= depth; k += 16) {
    V16 wv[C];
    for (int c = 0; c < C; ++c) wv[c] = load(w + c * ldw + k);
    for (int r = 0; r < R; ++r) {
      const V16 xv = load(x + r * ldx + k);
      for (int c = 0; c < C; ++c) sum_of[r][c] = fma(xv, wv[c], sum_of[r][c]);
    }
  }
  if (k < depth) {
    const int rest = static_cast<int>(depth - k);
    V16 wv[C];
    for (int c = 0; c < C; ++c) wv[c] = load_part(w + c * ldw + k, rest);
    for (int r = 0; r < R; ++r) {
      const V16 xv = load_part(x + r * ldx + k, rest);
      for (int c = 0; c < C; ++c) sum_of[r][c] = fma(xv, wv[c], sum_of[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) acc[r * C + c] = sum_of[r][c];
  }
}

template <int C>
inline void multiply_rows(int r, const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t depth,
                          V16* acc) {
  switch (r) {
    case 1:
      return multiply_panel<1, C>(x, ldx, w, ldw, depth, acc);
    case 2:
      return multiply_panel < kMr < 2 ? 1 : 2, C > (x, ldx, w, ldw, depth, acc);
    case 3:
      return multiply_panel < kMr < 3 ? 1 : 3, C > (x, ldx, w, ldw, depth, acc);
    case 4:
      return multiply_panel < kMr < 4 ? 1 : 4, C > (x, ldx, w, ldw, depth, acc);
    case 5:
      return multiply_panel < kMr < 5 ? 1 : 5, C > (x, ldx, w, ldw, depth, acc);
    default:
      return multiply_panel < kMr < 6 ? 1 : 6, C > (x, ldx, w, ldw, depth, acc);
  }
}

/// r x c products with r <= kMr, c <= kNr; acc [r][c].
inline void multiply(int r, int c, const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t depth,
                     V16* acc) {
  if (c == kNr) return multiply_rows<kNr>(r, x, ldx, w, ldw, depth, acc);
  V16 column[kMr];
  for (int j = 0; j < c; ++j) {
    for (int i = 0; i < r; ++i) column[i] = acc[i * c + j];
    multiply_rows<1>(r, x, ldx, w + j * ldw, ldw, depth, column);
    for (int i = 0; i < r; ++i) acc[i * c + j] = column[i];
  }
}

inline void finish(const V16* acc, int count, float* out) {
  int i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) sums16(acc + i, out + i);
#endif
  for (; i + 4 <= count; i += 4) sums4(acc + i, out + i);
  for (; i < count; ++i) out[i] = sum(acc[i]);
}

inline void dequantize_codes(const WeightRows& w, int64_t row, int64_t k, int count, float* out) {
  constexpr int kStretch = 256;
  const CodeTraits t = code_traits(w.format, w.bits);
  const V16 zeros = set1(t.is_signed ? 128.0f : float(t.zero));
  for (int done = 0; done < count; done += kStretch) {
    const int n = count - done < kStretch ? count - done : kStretch;
    alignas(64) uint8_t codes[kStretch];
    float scales[kStretch / 16], biases[kStretch / 16];
    unpack(w, row, k + done, n, codes, scales, biases);
    if (t.is_signed) {
      for (int i = 0; i < n; ++i) codes[i] ^= 0x80;
    }
    for (int i = 0; i < n; i += 16) {
      V16 value = mul(set1(scales[i / t.group]), sub(load_u8(codes + i), zeros));
      if (t.biased) value = add(value, set1(biases[i / t.group]));
      store(out + done + i, value);
    }
  }
}

inline void dequantize_part(const WeightRows& w, int64_t row, int64_t k, int count, float* out) {
  const uint8_t* at = w.data + row * w.row_bytes;
  if (w.format == WeightFormat::kF32) {
    __builtin_memcpy(out, at + 4 * k, sizeof(float) * count);
  } else if (w.format == WeightFormat::kF16 || w.format == WeightFormat::kBF16) {
    const bool is_half = w.format == WeightFormat::kF16;
    int i = 0;
    for (; i + 16 <= count; i += 16) {
      // The address may be odd; these loads do not mind.
      const uint16_t* numbers = reinterpret_cast<const uint16_t*>(at + 2 * (k + i));
      store(out + i, is_half ? load_half(numbers) : load_bfloat(numbers));
    }
    for (; i < count; ++i) out[i] = number_at(w.format, at, k + i);
  } else {
    dequantize_codes(w, row, k, count, out);
  }
}

void dequantize(const WeightRows& w, int64_t row, float* out) {
  constexpr int kStretch = 4096;
  for (int64_t k = 0; k < w.in; k += kStretch)
    dequantize_part(w, row, k, static_cast<int>(w.in - k < kStretch ? w.in - k : kStretch), out + k);
}

// fp32 weights at addresses that floats may have are used where they are.
inline bool in_place(const WeightRows& w) {
  return w.format == WeightFormat::kF32 && reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0;
}

template <WeightFormat kFormat>
inline V16 load_weight(const uint8_t* p) {
  if constexpr (kFormat == WeightFormat::kF16) return load_half(reinterpret_cast<const uint16_t*>(p));
  if constexpr (kFormat == WeightFormat::kBF16) return load_bfloat(reinterpret_cast<const uint16_t*>(p));
  return load(reinterpret_cast<const float*>(p));
}

// Few rows of activations with C rows of a dense weight as it lies in memory, at any address. The
// steps are those of multiply_panel.
template <int R, int C, WeightFormat kFormat>
inline void multiply_few(const float* x, int64_t ldx, const uint8_t* w, int64_t in, V16* acc) {
  constexpr int64_t kBytes = kFormat == WeightFormat::kF32 ? 4 : 2;
  const int64_t row_bytes = in * kBytes;
  // Two groups of rows ahead, in the order in which they lie; @see multiply_row of linear_row.h.
  const uint8_t* ahead = w + 2 * C * row_bytes;
  V16 total[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) total[r][c] = zero();
  }
  int64_t k = 0;
  for (; k + 16 <= in; k += 16) {
    for (int64_t i = 0; i < 16 * kBytes * C; i += 64) __builtin_prefetch(ahead + i, 0, 2);
    ahead += 16 * kBytes * C;
    V16 wv[C];
    for (int c = 0; c < C; ++c) wv[c] = load_weight<kFormat>(w + c * row_bytes + k * kBytes);
    for (int r = 0; r < R; ++r) {
      const V16 xv = load(x + r * ldx + k);
      for (int c = 0; c < C; ++c) total[r][c] = fma(xv, wv[c], total[r][c]);
    }
  }
  if (k < in) {
    const int rest = static_cast<int>(in - k);
    for (int c = 0; c < C; ++c) {
      uint8_t part[64] = {};
      __builtin_memcpy(part, w + c * row_bytes + k * kBytes, rest * kBytes);
      const V16 wv = load_weight<kFormat>(part);
      for (int r = 0; r < R; ++r) total[r][c] = fma(load_part(x + r * ldx + k, rest), wv, total[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) acc[r * C + c] = total[r][c];
  }
}

template <int R, int C, WeightFormat kFormat>
inline void few_columns(const LinearTask& task, int column, const float* x, int64_t ldx) {
  const WeightRows& w = *task.weight;
  V16 acc[R * C];
  multiply_few<R, C, kFormat>(x, ldx, w.data + (task.first + column) * static_cast<int64_t>(w.row_bytes),
                              w.in, acc);
  float out[R * C];
  finish(acc, R * C, out);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) {
      const int64_t to = task.first + column + c;
      task.y[r * task.ldy + to] = task.bias ? out[r * C + c] + task.bias[to] : out[r * C + c];
    }
  }
}

template <int R, WeightFormat kFormat>
inline void few_rows(const LinearTask& task, const float* x, int64_t ldx) {
  constexpr int kWide = R == 1 ? (kMr * kNr >= 24 ? 8 : 4) : kNr;
  int c = 0;
  for (; c + kWide <= task.count; c += kWide) few_columns<R, kWide, kFormat>(task, c, x, ldx);
  for (; c < task.count; ++c) few_columns<R, 1, kFormat>(task, c, x, ldx);
}

template <WeightFormat kFormat, int R = kMr>
inline void few_of(const LinearTask& task, const float* x, int64_t ldx) {
  if (task.rows == R) return few_rows<R, kFormat>(task, x, ldx);
  if constexpr (R > 1) few_of<kFormat, R - 1>(task, x, ldx);
}

/// No more rows than the registers hold, of a dense weight: nothing to gain from unpacking it.
/// @return false when the task is another one.
inline bool linear_f32_few(const LinearTask& task, const float* x, int64_t ldx) {
  if (task.rows > kMr) return false;
  switch (task.weight->format) {
    case WeightFormat::kF32:
      few_of<WeightFormat::kF32>(task, x, ldx);
      return true;
    case WeightFormat::kF16:
      few_of<WeightFormat::kF16>(task, x, ldx);
      return true;
    case WeightFormat::kBF16:
      few_of<WeightFormat::kBF16>(task, x, ldx);
      return true;
    default:
      return false;
  }
}

size_t linear_f32_scratch(const WeightRows& w, int64_t rows) {
  const size_t tile = in_place(w) ? 0 : sizeof(float) * kRowBlock * kDepth;
  const size_t sums = w.in > kDepth ? sizeof(V16) * kRowBlock * static_cast<size_t>(rows) : 0;
  return tile + sums + 128;
}

void linear_f32(const LinearTask& task, const float* x, int64_t ldx, void* scratch) {
  if (linear_f32_few(task, x, ldx)) return;
  const WeightRows& w = *task.weight;
  char* memory = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  const bool direct = in_place(w);
  float* tile = reinterpret_cast<float*>(memory);
  V16* sums = reinterpret_cast<V16*>(memory + (direct ? 0 : sizeof(float) * kRowBlock * kDepth));
  // With one stretch of k the sums live in registers and on the stack alone.
  const bool keep = w.in > kDepth;
  for (int64_t k = 0; k < w.in || k == 0; k += kDepth) {
    const int64_t depth = w.in - k < kDepth ? w.in - k : kDepth;
    const bool last = k + depth >= w.in;
    const float* panel = tile;
    int64_t ldw = kDepth;
    if (direct) {
      panel = reinterpret_cast<const float*>(w.data + task.first * w.row_bytes) + k;
      ldw = w.in;
    } else {
      for (int c = 0; c < task.count; ++c)
        dequantize_part(w, task.first + c, k, static_cast<int>(depth), tile + c * kDepth);
    }
    for (int64_t m = 0; m < task.rows; m += kMr) {
      const int r = static_cast<int>(task.rows - m < kMr ? task.rows - m : kMr);
      for (int c = 0; c < task.count; c += kNr) {
        const int n = task.count - c < kNr ? task.count - c : kNr;
        V16 fresh[kMr * kNr];
        V16* acc = keep ? sums + m * kRowBlock + c * r : fresh;
        if (k == 0) {
          for (int i = 0; i < r * n; ++i) acc[i] = zero();
        }
        multiply(r, n, x + m * ldx + k, ldx, panel + c * ldw, ldw, depth, acc);
        if (!last) continue;
        float out[kMr * kNr];
        finish(acc, r * n, out);
        for (int i = 0; i < r; ++i) {
          float* y = task.y + (m + i) * task.ldy + task.first + c;
          for (int j = 0; j < n; ++j)
            y[j] = task.bias ? out[i * n + j] + task.bias[task.first + c + j] : out[i * n + j];
        }
      }
    }
  }
}

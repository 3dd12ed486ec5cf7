// Attention of query rows that share a kv head over one segment of the cache. For a query, pages
// come in rising order and slots of a page in theirs; everything depends on absolute positions
// alone, so that a prompt's chunks, its batch and the threads leave no trace in the bits:
//   scores of a page, their maximum, m' = max(m, page's), p = exp(score - m'),
//   sum = sum * exp(m - m') + sum(p), acc = acc * exp(m - m') + sum over slots of p * value.

// R rows of probabilities times [slots, 16 C] of values, added to acc.
template <int R, int C>
inline void mix_panel(const float* p, int ldp, const float* values, int ldv, int slots, float* acc, int lda) {
  V16 total[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) total[r][c] = load(acc + r * lda + 16 * c);
  }
  for (int j = 0; j < slots; ++j) {
    V16 v[C];
    for (int c = 0; c < C; ++c) v[c] = load(values + j * ldv + 16 * c);
    for (int r = 0; r < R; ++r) {
      const V16 weight = set1(p[r * ldp + j]);
      for (int c = 0; c < C; ++c) total[r][c] = fma(weight, v[c], total[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(acc + r * lda + 16 * c, total[r][c]);
  }
}

// The last values of a row, fewer than 16.
inline void mix_rest(const float* p, const float* values, int ldv, int slots, int count, float* acc) {
  V16 total = load_part(acc, count);
  for (int j = 0; j < slots; ++j) total = fma(set1(p[j]), load_part(values + j * ldv, count), total);
  store_part(acc, total, count);
}

// Columns [d, d + width) of R rows.
template <int R>
inline void mix_rows(const float* p, const float* values, int ldv, int slots, int width, float* acc) {
  constexpr int kWide = kMr >= 6 ? 4 : 2;
  int d = 0;
  for (; d + 16 * kWide <= width; d += 16 * kWide)
    mix_panel<R, kWide>(p, kPageSlots, values + d, ldv, slots, acc + d, ldv);
  for (; d + 16 <= width; d += 16) mix_panel<R, 1>(p, kPageSlots, values + d, ldv, slots, acc + d, ldv);
  if (d < width) {
    for (int r = 0; r < R; ++r)
      mix_rest(p + r * kPageSlots, values + d, ldv, slots, width - d, acc + r * ldv + d);
  }
}

struct Slots {
  int begin, end;
};

// Slots of a page that a query at `position` sees.
inline Slots visible(const AttendTask& task, int position, int page_start) {
  const int first = task.window > 0 && position - task.window + 1 > 0 ? position - task.window + 1 : 0;
  int begin = first - page_start, end = position + 1 - page_start;
  if (begin < 0) begin = 0;
  if (end > kPageSlots) end = kPageSlots;
  return {begin, end > begin ? end : begin};
}

// fp32 numbers of [slots, dim] at `from`, in `buffer` when the cache keeps halves.
inline const float* wide_page(const AttendTask& task, const void* from, int slots, int dim, float* buffer) {
  if (task.type == CacheType::kF32) return static_cast<const float*>(from);
  const uint16_t* halves = static_cast<const uint16_t*>(from);
  const bool is_half = task.type == CacheType::kF16;
  const int count = slots * dim;  // a page has a multiple of 16 numbers, so whole vectors stay inside
  for (int i = 0; i < count; i += 16)
    store(buffer + i, is_half ? load_half(halves + i) : load_bfloat(halves + i));
  return buffer;
}

// Scores of all rows for slots [begin, end) of a page, some keys at a time so that they stay in
// the first-level cache while the rows pass.
inline void score_page(const AttendTask& task, const float* keys, int begin, int end, float* scores) {
  constexpr int kKeys = 16;
  const int dim = task.head_dim;
  for (int some = begin; some < end; some += kKeys) {
    const int stop = some + kKeys < end ? some + kKeys : end;
    for (int r = 0; r < task.rows; r += kMr) {
      const int rows = task.rows - r < kMr ? task.rows - r : kMr;
      for (int c = some; c < stop; c += kNr) {
        const int columns = stop - c < kNr ? stop - c : kNr;
        V16 acc[kMr * kNr];
        for (int i = 0; i < rows * columns; ++i) acc[i] = zero();
        multiply(rows, columns, task.q + r * dim, dim, keys + c * dim, dim, dim, acc);
        float out[kMr * kNr];
        finish(acc, rows * columns, out);
        for (int i = 0; i < rows; ++i) {
          for (int j = 0; j < columns; ++j) scores[(r + i) * kPageSlots + c + j] = out[i * columns + j];
        }
      }
    }
  }
}

// Probabilities of all rows times the values of a page, some columns at a time.
inline void mix_page(const AttendTask& task, const float* p, const float* values, int start) {
  constexpr int kColumns = 64;
  const int dim = task.value_dim;
  for (int d = 0; d < dim; d += kColumns) {
    const int width = dim - d < kColumns ? dim - d : kColumns;
    for (int r = 0; r < task.rows;) {
      const Slots seen = visible(task, task.positions[r], start);
      // Rows that see the same slots are mixed together.
      int same = 1;
      while (same < 4 && r + same < task.rows) {
        const Slots next = visible(task, task.positions[r + same], start);
        if (next.begin != seen.begin || next.end != seen.end) break;
        ++same;
      }
      if (same == 3) same = 2;
      const float* weights = p + r * kPageSlots + seen.begin;
      const float* v = values + static_cast<int64_t>(seen.begin) * dim + d;
      float* acc = task.acc + static_cast<int64_t>(r) * dim + d;
      const int slots = seen.end - seen.begin;
      if (same == 4)
        mix_rows<4>(weights, v, dim, slots, width, acc);
      else if (same == 2)
        mix_rows<2>(weights, v, dim, slots, width, acc);
      else
        mix_rows<1>(weights, v, dim, slots, width, acc);
      r += same;
    }
  }
}

// Scores of one row to probabilities relative to its new maximum. Slots outside become zero.
inline void weigh_row(const AttendTask& task, int r, Slots seen, float* scores) {
  const V16 scale = set1(task.scale), cap = set1(task.softcap), none = set1(-__builtin_inff());
  for (int i = 0; i < seen.begin; ++i) scores[i] = -__builtin_inff();
  for (int i = seen.end; i < kPageSlots; ++i) scores[i] = -__builtin_inff();
  V16 best = none;
  for (int i = 0; i < kPageSlots; i += 16) {
    V16 s = mul(load(scores + i), scale);
    if (task.softcap > 0) {
      // tanh(-infinity) is finite: outside stays outside.
      const V16 capped = mul(tanh(div(s, cap)), cap);
      s = select_less(none, s, capped, s);
    }
    store(scores + i, s);
    best = max(s, best);
  }
  const float before = task.maxima[r], page = largest(best), now = page > before ? page : before;
  float lanes[16];
  store(lanes, exp(set1(before - now)));
  const float decay = before == now ? 1.0f : lanes[0];
  V16 total = zero();
  for (int i = 0; i < kPageSlots; i += 16) {
    const V16 p = exp(sub(load(scores + i), set1(now)));
    store(scores + i, p);
    total = add(total, p);
  }
  task.maxima[r] = now;
  task.sums[r] = task.sums[r] * decay + sum(total);
  if (decay == 1.0f) return;
  float* acc = task.acc + static_cast<int64_t>(r) * task.value_dim;
  for_sixteens(task.value_dim, [&](int64_t i, int count) {
    store_some(acc + i, mul(load_some(acc + i, count), set1(decay)), count);
  });
}

size_t attend_scratch(const AttendTask& task) {
  const size_t page =
      task.type == CacheType::kF32 ? 0 : sizeof(float) * kPageSlots * (task.head_dim + task.value_dim);
  return page + sizeof(float) * kPageSlots * task.rows + 128;
}

void attend(const AttendTask& task, void* scratch) {
  float* scores = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  float* key_buffer = scores + kPageSlots * task.rows;
  float* value_buffer = key_buffer + kPageSlots * task.head_dim;
  for (int r = 0; r < task.rows; ++r) {
    task.maxima[r] = -__builtin_inff();
    task.sums[r] = 0;
    for (int i = 0; i < task.value_dim; ++i) task.acc[static_cast<int64_t>(r) * task.value_dim + i] = 0;
  }
  for (int page = task.page_begin; page < task.page_end; ++page) {
    const int start = page * kPageSlots;
    Slots all = {kPageSlots, 0};
    for (int r = 0; r < task.rows; ++r) {
      const Slots seen = visible(task, task.positions[r], start);
      if (seen.begin == seen.end) continue;
      all.begin = seen.begin < all.begin ? seen.begin : all.begin;
      all.end = seen.end > all.end ? seen.end : all.end;
    }
    if (all.begin >= all.end) continue;
    const float* keys =
        wide_page(task, task.keys[page - task.page_begin], all.end, task.head_dim, key_buffer);
    const float* values =
        wide_page(task, task.values[page - task.page_begin], all.end, task.value_dim, value_buffer);
    score_page(task, keys, all.begin, all.end, scores);
    for (int r = 0; r < task.rows; ++r) {
      const Slots seen = visible(task, task.positions[r], start);
      if (seen.begin < seen.end) weigh_row(task, r, seen, scores + r * kPageSlots);
    }
    mix_page(task, scores, values, start);
  }
}

// Adds the state of a later segment to that of the earlier ones.
void merge(const AttendTask& into, const AttendTask& from) {
  for (int r = 0; r < into.rows; ++r) {
    if (from.sums[r] == 0) continue;  // sees nothing there
    const float a = into.maxima[r], b = from.maxima[r], now = b > a ? b : a;
    float lanes[16];
    store(lanes, exp(set1(a - now)));
    const V16 mine = set1(into.sums[r] == 0 ? 0.0f : lanes[0]);
    store(lanes, exp(set1(b - now)));
    const V16 theirs = set1(lanes[0]);
    store(lanes, mine);
    const float mine_1 = lanes[0];
    store(lanes, theirs);
    into.sums[r] = into.sums[r] * mine_1 + from.sums[r] * lanes[0];
    into.maxima[r] = now;
    float* acc = into.acc + static_cast<int64_t>(r) * into.value_dim;
    const float* other = from.acc + static_cast<int64_t>(r) * into.value_dim;
    for_sixteens(into.value_dim, [&](int64_t i, int count) {
      store_some(acc + i, add(mul(load_some(acc + i, count), mine), mul(load_some(other + i, count), theirs)),
                 count);
    });
  }
}

void scale_row(const float* x, int64_t n, float divisor, float* out) {
  for_sixteens(n, [&](int64_t i, int count) {
    store_some(out + i, div(load_some(x + i, count), set1(divisor)), count);
  });
}

// Attention of query rows that share a kv head over one segment of the cache, by tiles of bfloat16.
// Queries, keys, values and probabilities are rounded to bfloat16; sums, scores and the softmax are fp32:
//   scores = 32 of the head's numbers after 32, each as tiles.h says, times the scale;
//   m = their maximum over the segment, p = exp(score - m), sum = p of slot after slot in rising order,
//   acc = 32 slots after 32 in rising order, each as tiles.h says.
// Slots that a query does not see have p = 0, which leaves every sum as it is: the bits depend on absolute
// positions alone, as in attention.h. merge() joins segments. Keys of a bfloat16 cache are multiplied where
// they lie.

inline bool fits_tiles(const AttendTask& task) { return fits_bf16_tiles(task.head_dim, task.value_dim); }

struct TiledSegment {
  int first_slot, slots;  // a multiple of 64 slots, from an absolute position on
  int written;            // slots that may be read; the rest count as zeros
  uint16_t* keys;         // panels of 32 slots: [slots / 32][head_dim / 32][32][32]; none of a bfloat16 cache
  uint16_t* values;       // [slots / 32][value_dim / 16][16 pairs of slots][16][2]
  uint8_t* queries;       // [blocks of 16 rows][head_dim / 32][16 pairs][16][2]
  float* scores;          // [two blocks][slots][16]
  uint16_t* weights;      // [slots / 32][two blocks][16][32]
};

inline __m512 load_cached(CacheType type, const void* from, int64_t i) {
  if (type == CacheType::kF32) return _mm512_loadu_ps(static_cast<const float*>(from) + i);
  const uint16_t* halves = static_cast<const uint16_t*>(from) + i;
  return type == CacheType::kF16 ? load_half(halves).v : load_bfloat(halves).v;
}

/// Words 2 i and 2 i + 1: words i and 16 + i.
inline __m512i pair_up(__m512i words) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), words);
}

/// Words 2 i and 2 i + 1: numbers i of `even` and of `odd`.
inline __m512i pairs_of(__m512 even, __m512 odd) { return pair_up(to_bf16(even, odd)); }

inline void arrange_keys(const AttendTask& task, const TiledSegment& s) {
  for (int slot = 0; slot < s.slots; ++slot) {
    uint16_t* to = s.keys + int64_t{slot} / 32 * 32 * task.head_dim + slot % 32 * 32;
    const int page = (s.first_slot + slot) / kPageSlots - task.page_begin;
    const int64_t at = int64_t{(s.first_slot + slot) % kPageSlots} * task.head_dim;
    for (int d = 0; d < task.head_dim; d += 32, to += 32 * 32) {
      const __m512i row = slot < s.written ? to_bf16(load_cached(task.type, task.keys[page], at + d),
                                                     load_cached(task.type, task.keys[page], at + d + 16))
                                           : _mm512_setzero_si512();
      _mm512_store_si512(to, row);
    }
  }
}

inline void arrange_values(const AttendTask& task, const TiledSegment& s) {
  const int dim = task.value_dim;
  for (int slot = 0; slot < s.slots; slot += 2) {
    uint16_t* to = s.values + int64_t{slot} / 32 * 32 * dim + slot % 32 * 16;
    const void* page = task.values[(s.first_slot + slot) / kPageSlots - task.page_begin];
    const int64_t at = int64_t{(s.first_slot + slot) % kPageSlots} * dim;
    if (task.type == CacheType::kBF16) {
      const uint16_t* from = static_cast<const uint16_t*>(page) + at;
      const __mmask16 even = slot < s.written ? 0xffff : 0, odd = slot + 1 < s.written ? 0xffff : 0;
      for (int d = 0; d < dim; d += 16, to += 16 * 32) {
        const __m512i words =
            _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi16(even, from + d)),
                               _mm256_maskz_loadu_epi16(odd, from + dim + d), 1);
        _mm512_store_si512(to, pair_up(words));
      }
      continue;
    }
    for (int d = 0; d < dim; d += 16, to += 16 * 32) {
      const __m512 even = slot < s.written ? load_cached(task.type, page, at + d) : _mm512_setzero_ps();
      const __m512 odd =
          slot + 1 < s.written ? load_cached(task.type, page, at + dim + d) : _mm512_setzero_ps();
      _mm512_store_si512(to, pairs_of(even, odd));
    }
  }
}

// Scores of kBlocks blocks of queries from row `first` on.
template <int kBlocks>
inline void score_tiles(const AttendTask& task, const TiledSegment& s, int first) {
  const int groups = task.head_dim / 32;
  const int64_t block_bytes = int64_t{task.head_dim} * 32;
  const uint8_t* q = s.queries + first / 16 * block_bytes;
  const TileSums<kBlocks> sums{{q, q + (kBlocks - 1) * block_bytes}, 1024, 64};
  for (int slot = 0; slot < s.slots; slot += 32) {
    sums.clear();
    if (task.type == CacheType::kBF16) {
      // Slots that nobody has written hold zeros or what was cut off: their scores are not looked at.
      const void* page = task.keys[(s.first_slot + slot) / kPageSlots - task.page_begin];
      const uint16_t* low = static_cast<const uint16_t*>(page) + int64_t{slot % kPageSlots} * task.head_dim;
      const uint16_t* high = low + int64_t{16} * task.head_dim;
      for (int g = 0; g < groups; ++g) sums.add(low + 32 * g, high + 32 * g, 2 * task.head_dim, g);
    } else {
      const uint16_t* panel = s.keys + int64_t{slot} * task.head_dim;
      for (int g = 0; g < groups; ++g) sums.add(panel + g * kGroupNumbers, g);
    }
    store_tile<0>(s.scores + 16 * slot, 64);
    store_tile<1>(s.scores + 16 * (slot + 16), 64);
    if constexpr (kBlocks == 2) {
      store_tile<2>(s.scores + 16 * (s.slots + slot), 64);
      store_tile<3>(s.scores + 16 * (s.slots + slot + 16), 64);
    }
  }
}

// Scores of the 16 queries from row `first` on, a query a lane, to probabilities as tiles want them.
inline void weigh_tiles(const AttendTask& task, const TiledSegment& s, int first, int block) {
  float* scores = s.scores + int64_t{block} * 16 * s.slots;
  const int count = task.rows - first < 16 ? task.rows - first : 16;
  alignas(64) int newest[16], oldest[16];
  for (int r = 0; r < 16; ++r) {
    const int position = task.positions[first + (r < count ? r : 0)];
    newest[r] = position;
    oldest[r] = task.window > 0 ? position - task.window + 1 : 0;
  }
  const __m512i last = _mm512_load_si512(newest), begin = _mm512_load_si512(oldest);
  const V16 scale = set1(task.scale), cap = set1(task.softcap), none = set1(-__builtin_inff());
  V16 best = none;
  for (int slot = 0; slot < s.slots; ++slot) {
    V16 x = mul(load(scores + 16 * slot), scale);
    if (task.softcap > 0) x = mul(tanh(div(x, cap)), cap);
    const __m512i at = _mm512_set1_epi32(s.first_slot + slot);
    const __mmask16 seen = _mm512_cmple_epi32_mask(at, last) & _mm512_cmpge_epi32_mask(at, begin);
    x.v = _mm512_mask_blend_ps(seen, none.v, x.v);
    store(scores + 16 * slot, x);
    best = max(x, best);
  }
  // A query that sees nothing here has no maximum: its probabilities are zeros.
  const V16 shift = select_less(none, best, best, zero());
  V16 total = zero();
  alignas(64) uint8_t pairs[16 * 64];
  for (int slot = 0; slot < s.slots; slot += 2) {
    const V16 even = exp(sub(load(scores + 16 * slot), shift)),
              odd = exp(sub(load(scores + 16 * slot + 16), shift));
    total = add(add(total, even), odd);
    _mm512_store_si512(pairs + slot % 32 * 32, pairs_of(even.v, odd.v));
    if (slot % 32 == 30)
      interleave(pairs, 64, 0,
                 reinterpret_cast<uint8_t*>(s.weights + slot / 32 * kGroupNumbers + 512 * block));
  }
  store_part(task.maxima + first, best, count);
  store_part(task.sums + first, total, count);
}

template <int T>
inline void write_mixed(const AttendTask& task, int first, int column) {
  if (first >= task.rows) return;
  float* to = task.acc + int64_t{first} * task.value_dim + column;
  if (task.rows - first >= 16) return store_tile<T>(to, 4 * task.value_dim);
  alignas(64) float rows[256];
  store_tile<T>(rows, 64);
  for (int r = 0; r < task.rows - first; ++r) store(to + int64_t{r} * task.value_dim, load(rows + 16 * r));
}

// Weighted values of two blocks of queries.
inline void mix_tiles(const AttendTask& task, const TiledSegment& s, int first) {
  const int64_t tile = 16 * 32 * 2;  // bytes
  for (int d = 0; d < task.value_dim; d += 32) {
    const uint8_t* values = reinterpret_cast<const uint8_t*>(s.values) + d / 16 * tile;
    const TileSums<2> sums{{values, values + tile}, task.value_dim / 16 * tile, 64};
    sums.clear();
    for (int g = 0; g < s.slots / 32; ++g) sums.add(s.weights + g * kGroupNumbers, g);
    write_mixed<0>(task, first, d);
    write_mixed<1>(task, first + 16, d);
    write_mixed<2>(task, first, d + 16);
    write_mixed<3>(task, first + 16, d + 16);
  }
}

size_t attend_bf16_scratch(const AttendTask& task) {
  if (!fits_tiles(task)) return attend_scratch(task);
  const size_t slots = size_t(task.page_end - task.page_begin) * kPageSlots,
               rows = (task.rows + 31) / 32 * 32;
  const size_t keys = task.type == CacheType::kBF16 ? 0 : slots * task.head_dim;
  return 2 * (keys + slots * task.value_dim + rows * task.head_dim) + slots * 32 * 6 + 64;
}

void attend_bf16(const AttendTask& task, void* scratch) {
  if (!fits_tiles(task)) return attend(task, scratch);
  const int start = task.page_begin * kPageSlots, stop = task.page_end * kPageSlots;
  int begin = stop, end = start;
  for (int r = 0; r < task.rows; ++r) {
    const int newest = task.positions[r] + 1, oldest = task.window > 0 ? newest - task.window : 0;
    begin = oldest < begin ? oldest : begin;
    end = newest > end ? newest : end;
  }
  begin = begin < start ? start : begin;
  end = end > stop ? stop : end;
  if (begin >= end) {
    for (int r = 0; r < task.rows; ++r) task.maxima[r] = -__builtin_inff(), task.sums[r] = 0;
    __builtin_memset(task.acc, 0, sizeof(float) * task.rows * task.value_dim);
    return;
  }
  TiledSegment s;
  s.first_slot = begin / kPageSlots * kPageSlots;
  s.slots = (end - s.first_slot + kPageSlots - 1) / kPageSlots * kPageSlots;
  s.written = end - s.first_slot;
  s.keys = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  const bool in_place = task.type == CacheType::kBF16;
  s.values = s.keys + (in_place ? 0 : int64_t{s.slots} * task.head_dim);
  s.queries = reinterpret_cast<uint8_t*>(s.values + int64_t{s.slots} * task.value_dim);
  s.scores = reinterpret_cast<float*>(s.queries + int64_t{task.rows + 31} / 32 * 32 * task.head_dim * 2);
  s.weights = reinterpret_cast<uint16_t*>(s.scores + int64_t{s.slots} * 32);
  if (!in_place) arrange_keys(task, s);
  arrange_values(task, s);
  for (int r = 0; r < task.rows; r += 16)
    arrange_bf16(task.q + int64_t{r} * task.head_dim, task.rows - r < 16 ? task.rows - r : 16, task.head_dim,
                 16, s.queries + int64_t{r} * task.head_dim * 2);
  const Tiles shapes(bf16_tiles(16));
  for (int r = 0; r < task.rows; r += 32) {
    if (task.rows - r > 16) {
      score_tiles<2>(task, s, r);
      weigh_tiles(task, s, r, 0);
      weigh_tiles(task, s, r + 16, 1);
    } else {
      score_tiles<1>(task, s, r);
      weigh_tiles(task, s, r, 0);
      for (int g = 0; g < s.slots / 32; ++g) __builtin_memset(s.weights + g * kGroupNumbers + 512, 0, 1024);
    }
    mix_tiles(task, s, r);
  }
}

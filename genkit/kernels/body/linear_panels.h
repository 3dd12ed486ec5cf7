// Products of a few rows of int8 activations with weights in panels, as the panels come from memory.

// Bytes fetched ahead of those that are multiplied: panels lie one after another, but a thread takes too
// little time over a page for the processor to see it.
constexpr int64_t kBytesAhead = 8192;

/// total[r]: the products of a panel with activation m + r. The steps are those of multiply_codes.
/// @param corrections [in / Tag::kGroup][rows] where every integer dot begins.
template <class Tag, int R>
inline void multiply_panel(const PanelLayout& l, const uint8_t* panel, const FewRows& x,
                           const int32_t* corrections, int64_t m, V16* out) {
  constexpr int kBits = Tag::kBits, kGroup = Tag::kGroup, kDots = 32 / kGroup;
  constexpr int kSteps = kBits == 8 ? 0 : kBits == 6 ? 2 : kBits == 5 ? 4 : 8;  // @see narrow_steps
  const int64_t groups = l.blocks * l.groups, rows = x.rows;
  const uint8_t *fetched = panel + kBytesAhead, *until = fetched;
  const int64_t share = l.bytes() / groups;
  const uint8_t *head = panel, *codes = panel + l.codes_at();
  const int32_t* fours = x.codes + m;
  corrections += m;
  V16 total[R];
  for (int r = 0; r < R; ++r) total[r] = zero();
  for (int64_t g = m; g < m + groups * rows; head += l.head_bytes()) {
    V16 scale = zero(), bias = zero();
    if constexpr (!Tag::kSuper) scale = panel_scale<Tag>(l, head, 0);
    if constexpr (!Tag::kSuper && Tag::kBiased) bias = panel_bias<Tag>(l, head, 0);
    for (int i = 0; i < l.groups; ++i, g += rows, codes += 64 * kBits) {
      for (until += share; fetched < until; fetched += 64) __builtin_prefetch(fetched, 0, 2);
      if constexpr (Tag::kSuper && Tag::kBiased) bias = panel_bias<Tag>(l, head, i);
      I16 dot[R], pairs[R];
      for_each_step<kBits>(codes, [&](auto step, Codes w) {
        constexpr int j = decltype(step)::kValue;
        if constexpr (j % (kGroup / 4) == 0) {
          for (int r = 0; r < R; ++r) dot[r] = set1_int(corrections[r]);
          corrections += rows;
        }
        if constexpr (Tag::kFlipped) w = less(w, 128);
        for (int r = 0; r < R; ++r) {
          const int8_t* four = reinterpret_cast<const int8_t*>(fours + r);
          if constexpr (kPairSums && kSteps > 0) {
            constexpr int kStretch = kSteps > 0 ? kSteps : 1;
            pairs[r] = add_pairs(j % kStretch == 0 ? set1_int(0) : pairs[r], w, four);
            if (j % kStretch == kStretch - 1) dot[r] = add_widened(dot[r], pairs[r]);
          } else {
            dot[r] = dot4<(kSteps > 0)>(dot[r], w, four);
          }
        }
        fours += rows;
        if constexpr ((j + 1) % (kGroup / 4) == 0) {
          if constexpr (Tag::kSuper) scale = panel_scale<Tag>(l, head, kDots * i + 4 * j / kGroup);
          for (int r = 0; r < R; ++r)
            total[r] = fma(to_float(dot[r]), mul(scale, set1(x.scales[g + r])), total[r]);
        }
      });
      if constexpr (Tag::kBiased) {
        for (int r = 0; r < R; ++r) total[r] = fma(bias, set1(x.scaled_sums[g + r]), total[r]);
      }
    }
  }
  for (int r = 0; r < R; ++r) out[r] = total[r];
}

template <class Tag>
inline int multiply_panel_some(const PanelLayout& l, const uint8_t* panel, const FewRows& x,
                               const int32_t* corrections, int64_t m, V16* acc) {
  const int64_t left = x.rows - m;
  const auto rows = [&](auto count) {
    constexpr int R = decltype(count)::kValue;
    multiply_panel<Tag, R>(l, panel, x, corrections, m, acc);
    return R;
  };
  if (left >= kPanel) return rows(IntTag<kPanel>());
  if (kPanel > 4 && left >= 4) return rows(IntTag<(kPanel > 4 ? 4 : 1)>());
  if (kPanel > 3 && left == 3) return rows(IntTag<(kPanel > 3 ? 3 : 1)>());
  if (kPanel > 2 && left >= 2) return rows(IntTag<(kPanel > 2 ? 2 : 1)>());
  return rows(IntTag<1>());
}

/// Up to kPanel activations with a weight that has panels.
inline void multiply_panels(const LinearTask& task, const FewRows& x, void* scratch) {
  const WeightRows& w = *task.weight;
  const PanelLayout l = panel_layout(w);
  const CodeTraits t = code_traits(w.format, w.bits);
  const int correction = tile_codes(t).correction;
  const int32_t* sums = t.group == 16 ? x.half_sums : x.sums;
  int32_t* corrections = static_cast<int32_t*>(scratch);
  for (int64_t i = 0; i < w.in / t.group * task.rows; ++i) corrections[i] = correction * sums[i];
  with_panel_tag(l, [&](auto tag) {
    for (int done = 0; done < task.count; done += kRowBlock) {
      LinearTask block = task;
      block.first = task.first + done;
      block.count = task.count - done < kRowBlock ? task.count - done : kRowBlock;
      const uint8_t* panel = w.panels + block.first / kRowBlock * l.bytes();
      for (int64_t m = 0; m < task.rows;) {
        V16 acc[kPanel];
        const int some = multiply_panel_some<decltype(tag)>(l, panel, x, corrections, m, acc);
        write_rows(block, m, some, acc);
        m += some;
      }
    }
  });
}

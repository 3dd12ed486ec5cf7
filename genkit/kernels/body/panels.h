// Panels: quantised weights turned once, after they are loaded, so that the int8 kernels read them from end
// to end and as they come. A panel holds 16 weight rows. First for every block of k its scales:
//
//   of blocks of up to 128, in the file's type: scales [16], biases [16] if the format has them
//   of blocks of 256: fp16 d [16], dmin [16] if there are biases; then a byte for every row of every group:
//     its scale [groups][16], its minimum [groups][16] if there are biases. Signed scales have 128 added.
//
// filled up to a multiple of 64 bytes; then for every 32 of k the codes
//
//   of 8 bits:  [8 steps][16 rows][4]
//   of 4 bits:  [4][16 rows][4] bytes, of byte i the lower bits for step 2 i, the upper for step 2 i + 1
//   of 5 bits:  as of 4, then the fifth bits [16 rows][4]: bit j of a byte for step j
//   of 6 bits:  as of 4, then the others [2][16 rows][4]: bits 2 j and 2 j + 1 of a byte i for step 4 i + j
//
// where step j is 4 j .. 4 j + 3 of the 32. A panel is as large as the rows it stands for, and its numbers
// are the same. Codes of 8 bits are those of a Tile, but signed where tiles of registers take them as they
// lie.

#if defined(__AMX_INT8__) || defined(__AMXINT8__)  // as gcc and as clang have it
constexpr bool kSignedPanels = true;
#else
constexpr bool kSignedPanels = false;
#endif

/// What of a panel's layout a kernel is compiled for.
template <int kCodeBits, bool kHasBiases, bool kBlockOf256>
struct PanelTag {
  static constexpr int kBits = kCodeBits;
  static constexpr bool kBiased = kHasBiases, kSuper = kBlockOf256;
  static constexpr int kGroup = kBits == 6 ? 16 : 32;  ///< numbers that share a scale
  /// Codes that are signed in a panel and unsigned in a tile.
  static constexpr bool kFlipped = kSignedPanels && kBits == 8 && !kBiased;
};

struct PanelLayout {
  int bits = 0;  ///< of a code; 0: the format has no panels
  bool biased = false, super = false;
  WeightFormat scale_format = WeightFormat::kF16;
  int64_t groups = 1;  ///< of 32 numbers in a block
  int64_t blocks = 0;

  int64_t scale_bytes() const { return kRowBlock * (scale_format == WeightFormat::kF32 ? 4 : 2); }
  /// Scale bytes of a block of 256, for 16 rows.
  int64_t byte_scales() const { return super ? kRowBlock * (bits == 6 ? 16 : 8) : 0; }
  int64_t head_bytes() const { return (scale_bytes() + byte_scales()) * (biased ? 2 : 1); }  ///< of a block
  int64_t code_bytes() const { return 64 * bits; }  ///< of 32 numbers of 16 rows
  int64_t codes_at() const { return (blocks * head_bytes() + 63) / 64 * 64; }
  int64_t bytes() const { return codes_at() + blocks * groups * code_bytes(); }
};

inline PanelLayout panel_layout(const WeightRows& w) {
  using F = WeightFormat;
  PanelLayout l;
  l.biased = code_traits(w.format, w.bits).biased;
  l.super = w.format == F::kQ4_K || w.format == F::kQ5_K || w.format == F::kQ6_K;
  if (w.format == F::kQ4_0 || w.format == F::kQ4_1 || w.format == F::kQ4_K) l.bits = 4;
  if (w.format == F::kQ5_0 || w.format == F::kQ5_1 || w.format == F::kQ5_K) l.bits = 5;
  if (w.format == F::kQ6_K) l.bits = 6;
  if (w.format == F::kQ8_0) l.bits = 8;
  if (l.super) l.groups = 8;
  if (w.format == F::kAffine && (w.bits == 4 || w.bits == 8)) {
    l.bits = w.bits;
    l.scale_format = w.scale_format;
    l.groups = w.group_size / 32;
  }
  l.blocks = w.in / 32 / l.groups;
  return l;
}

size_t panel_bytes(const WeightRows& w) {
  const PanelLayout l = panel_layout(w);
  return l.bits == 0 ? 0 : static_cast<size_t>(l.bytes());
}

/// use(PanelTag)
template <class Use>
inline void with_panel_tag(const PanelLayout& l, Use use) {
  if (l.super) {
    if (l.bits == 4) return use(PanelTag<4, true, true>());
    if (l.bits == 5) return use(PanelTag<5, true, true>());
    return use(PanelTag<6, false, true>());
  }
  if (l.bits == 4) return l.biased ? use(PanelTag<4, true, false>()) : use(PanelTag<4, false, false>());
  if (l.bits == 5) return l.biased ? use(PanelTag<5, true, false>()) : use(PanelTag<5, false, false>());
  return l.biased ? use(PanelTag<8, true, false>()) : use(PanelTag<8, false, false>());
}

inline V16 load_numbers(const uint8_t* p, WeightFormat format) {
  if (format == WeightFormat::kF16) return load_half(reinterpret_cast<const uint16_t*>(p));
  if (format == WeightFormat::kBF16) return load_bfloat(reinterpret_cast<const uint16_t*>(p));
  return load(reinterpret_cast<const float*>(p));
}

/// The scales of group i of a block, whose scales are at `head`; of PanelTag::kGroup numbers each.
template <class Tag>
inline V16 panel_scale(const PanelLayout& l, const uint8_t* head, int i) {
  if constexpr (!Tag::kSuper) return load_numbers(head, l.scale_format);
  const V16 byte = load_u8(head + l.scale_bytes() * (Tag::kBiased ? 2 : 1) + kRowBlock * i);
  const V16 d = load_half(reinterpret_cast<const uint16_t*>(head));
  return mul(d, Tag::kBits == 6 ? sub(byte, set1(128.0f)) : byte);
}
template <class Tag>
inline V16 panel_bias(const PanelLayout& l, const uint8_t* head, int i) {
  if constexpr (!Tag::kSuper) return load_numbers(head + l.scale_bytes(), l.scale_format);
  const V16 byte = load_u8(head + 2 * l.scale_bytes() + l.byte_scales() + kRowBlock * i);
  const V16 dmin = load_half(reinterpret_cast<const uint16_t*>(head + l.scale_bytes()));
  return mul(mul(dmin, set1(-1.0f)), byte);
}

/// use(IntTag<step>, its codes) for the eight steps of 32 numbers.
template <int kBits, class Use>
inline void for_each_step(const uint8_t* codes, const Use& use) {
  if constexpr (kBits == 8) {
    use(IntTag<0>(), load_codes(codes));
    use(IntTag<1>(), load_codes(codes + 64));
    use(IntTag<2>(), load_codes(codes + 128));
    use(IntTag<3>(), load_codes(codes + 192));
    use(IntTag<4>(), load_codes(codes + 256));
    use(IntTag<5>(), load_codes(codes + 320));
    use(IntTag<6>(), load_codes(codes + 384));
    use(IntTag<7>(), load_codes(codes + 448));
  } else {
    const auto two = [&](auto low, auto high, const uint8_t* at) {
      const Codes pair = load_codes(at);
      constexpr int kLow = decltype(low)::kValue, kHigh = decltype(high)::kValue;
      if constexpr (kBits == 4) {
        use(low, low_nibbles(pair));
        use(high, high_nibbles(pair));
      } else if constexpr (kBits == 6) {
        const Codes bits = load_codes(codes + 256 + 64 * (kLow / 4));
        use(low, with_two_more<kLow % 4>(low_nibbles(pair), bits));
        use(high, with_two_more<kHigh % 4>(high_nibbles(pair), bits));
      } else {
        const Codes bits = load_codes(codes + 256);
        use(low, with_fifth<kLow>(low_nibbles(pair), bits));
        use(high, with_fifth<kHigh>(high_nibbles(pair), bits));
      }
    };
    two(IntTag<0>(), IntTag<1>(), codes);
    two(IntTag<2>(), IntTag<3>(), codes + 64);
    two(IntTag<4>(), IntTag<5>(), codes + 128);
    two(IntTag<6>(), IntTag<7>(), codes + 192);
  }
}

/// What fetches the panel after this one, in so many passes over k.
inline Ahead panel_ahead(const PanelLayout& l, const uint8_t* panel, int passes) {
  return {panel + l.bytes(), l.bytes() / passes, l.blocks * l.groups};
}

/// The codes of a panel as [in / 4][16][4], less `zero`.
template <int kBits>
inline void unpack_codes(const PanelLayout& l, const uint8_t* panel, int zero, Ahead& ahead, uint8_t* to) {
  const uint8_t* codes = panel + l.codes_at();
  for (int64_t g = 0; g < l.blocks * l.groups; ++g, codes += 64 * kBits, to += 512) {
    ahead.fetch();
    for_each_step<kBits>(
        codes, [&](auto step, Codes c) { store_codes(to + 64 * decltype(step)::kValue, less(c, zero)); });
  }
}

/// A panel as a tile again, for activations so many that this pays; codes less `zero`.
template <class Tag>
inline void unpack_panel(const PanelLayout& l, const uint8_t* panel, int zero, Ahead& ahead, Tile& tile) {
  constexpr int kScales = 32 / Tag::kGroup;
  for (int64_t b = 0, at = 0; b < l.blocks; ++b) {
    const uint8_t* head = panel + b * l.head_bytes();
    for (int i = 0; i < l.groups * kScales; ++i, at += kRowBlock) {
      store(tile.scales + at, panel_scale<Tag>(l, head, i));
      if constexpr (Tag::kBiased) store(tile.biases + at, panel_bias<Tag>(l, head, i));
    }
  }
  unpack_codes<Tag::kBits>(l, panel, zero, ahead, tile.codes);
}

/// Fills `tile` with rows [first, first + count), from the weight's panels if it has them.
/// @return what fetches the second half of the next rows.
inline Ahead fill_tile(const WeightRows& w, int64_t first, int count, const CodeTraits& t, Tile& tile) {
  if (w.panels == nullptr) {
    Ahead ahead(w, first);
    unpack_tile(w, first, count, t, ahead, tile);
    return ahead;
  }
  const PanelLayout l = panel_layout(w);
  const uint8_t* panel = w.panels + first / kRowBlock * l.bytes();
  Ahead ahead = panel_ahead(l, panel, 2);
  with_panel_tag(l, [&](auto tag) {
    using Tag = decltype(tag);
    unpack_panel<Tag>(l, panel, Tag::kFlipped ? 128 : 0, ahead, tile);
  });
  tile.correction = tile_codes(t).correction;
  return ahead;
}

// Panels: quantised weights turned once, after they are loaded, so that the int8 kernels read them from end
// to end and as they come. A panel holds 16 weight rows. First for every block of k, in the file's type,
//
//   scales [16], biases [16] if the format has them
//
// filled up to a multiple of 64 bytes; then for every 32 of k the codes
//
//   of 8 bits:  [8 steps][16 rows][4]
//   of 4 bits:  [4][16 rows][4] bytes, of byte i the lower bits for step 2 i, the upper for step 2 i + 1
//   of 5 bits:  as of 4, then the fifth bits [16 rows][4]: bit j of a byte for step j
//
// where step j is 4 j .. 4 j + 3 of the 32. A panel is as large as the rows it stands for, and its numbers
// are the same. Codes of 8 bits are those of a Tile, but signed where tiles of registers take them as they
// lie.

#if defined(__AMX_INT8__)
constexpr bool kSignedPanels = true;
#else
constexpr bool kSignedPanels = false;
#endif

struct PanelLayout {
  int bits = 0;  ///< of a code; 0: the format has no panels
  bool biased = false;
  WeightFormat scale_format = WeightFormat::kF16;
  int64_t groups = 1;  ///< of 32 numbers in a block
  int64_t blocks = 0;

  int64_t scale_bytes() const { return kRowBlock * (scale_format == WeightFormat::kF32 ? 4 : 2); }
  int64_t head_bytes() const { return scale_bytes() * (biased ? 2 : 1); }  ///< of a block
  int64_t code_bytes() const { return 64 * bits; }                         ///< of 32 numbers of 16 rows
  int64_t codes_at() const { return (blocks * head_bytes() + 63) / 64 * 64; }
  int64_t bytes() const { return codes_at() + blocks * groups * code_bytes(); }
};

inline PanelLayout panel_layout(const WeightRows& w) {
  using F = WeightFormat;
  PanelLayout l;
  l.biased = code_traits(w.format, w.bits).biased;
  if (w.format == F::kQ4_0 || w.format == F::kQ4_1) l.bits = 4;
  if (w.format == F::kQ5_0 || w.format == F::kQ5_1) l.bits = 5;
  if (w.format == F::kQ8_0) l.bits = 8;
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

/// Codes of 8 bits that are signed in a panel and unsigned in a tile.
constexpr bool flipped_in_tiles(int bits, bool biased) { return kSignedPanels && bits == 8 && !biased; }

/// use(IntTag<bits of a code>, IntTag<whether there are biases>)
template <class Use>
inline void with_panel_kind(const PanelLayout& l, Use use) {
  switch (2 * l.bits + l.biased) {
    case 8:
      return use(IntTag<4>(), IntTag<0>());
    case 9:
      return use(IntTag<4>(), IntTag<1>());
    case 10:
      return use(IntTag<5>(), IntTag<0>());
    case 11:
      return use(IntTag<5>(), IntTag<1>());
    case 16:
      return use(IntTag<8>(), IntTag<0>());
    default:
      return use(IntTag<8>(), IntTag<1>());
  }
}

inline V16 load_numbers(const uint8_t* p, WeightFormat format) {
  if (format == WeightFormat::kF16) return load_half(reinterpret_cast<const uint16_t*>(p));
  if (format == WeightFormat::kBF16) return load_bfloat(reinterpret_cast<const uint16_t*>(p));
  return load(reinterpret_cast<const float*>(p));
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
      if constexpr (kBits == 4) {
        use(low, low_nibbles(pair));
        use(high, high_nibbles(pair));
      } else {
        const Codes bits = load_codes(codes + 256);
        use(low, with_fifth<decltype(low)::kValue>(low_nibbles(pair), bits));
        use(high, with_fifth<decltype(high)::kValue>(high_nibbles(pair), bits));
      }
    };
    two(IntTag<0>(), IntTag<1>(), codes);
    two(IntTag<2>(), IntTag<3>(), codes + 64);
    two(IntTag<4>(), IntTag<5>(), codes + 128);
    two(IntTag<6>(), IntTag<7>(), codes + 192);
  }
}

/// Codes [8 steps][64] of a tile to the bytes that stand for them.
inline void pack_codes(const uint8_t* codes, const PanelLayout& l, uint8_t* to) {
  if (l.bits == 8) {
    const uint8_t flip = flipped_in_tiles(l.bits, l.biased) ? 128 : 0;
    for (int c = 0; c < 512; ++c) to[c] = codes[c] ^ flip;
    return;
  }
  for (int i = 0; i < 4; ++i) {
    const uint8_t *low = codes + 128 * i, *high = low + 64;
    for (int c = 0; c < 64; ++c) to[64 * i + c] = uint8_t((low[c] & 15) | high[c] << 4);
  }
  if (l.bits == 4) return;
  for (int c = 0; c < 64; ++c) {
    int fifth = 0;
    for (int j = 0; j < 8; ++j) fifth |= (codes[64 * j + c] >> 4 & 1) << j;
    to[256 + c] = uint8_t(fifth);
  }
}

/// The scales or biases of block `b` of rows [first, first + count), as the file has them; 0 past them.
inline void copy_numbers(const WeightRows& w, const PanelLayout& l, int64_t first, int count, int64_t b,
                         bool biases, uint8_t* to) {
  const int64_t size = l.scale_bytes() / kRowBlock, row_bytes = static_cast<int64_t>(w.row_bytes);
  for (int r = 0; r < kRowBlock; ++r, to += size) {
    if (r >= count) {
      __builtin_memset(to, 0, size);
    } else if (w.format == WeightFormat::kAffine) {
      __builtin_memcpy(to, (biases ? w.biases : w.scales) + ((first + r) * l.blocks + b) * size, size);
    } else {
      // A block of these formats begins with its scale, and the bias follows.
      __builtin_memcpy(to, w.data + (first + r) * row_bytes + b * (row_bytes / l.blocks) + biases * size,
                       size);
    }
  }
}

/// Rows [first, first + count) of a weight that has panels. @param scratch as linear_int8's.
void make_panel(const WeightRows& w, int64_t first, int count, void* scratch, uint8_t* to) {
  const PanelLayout l = panel_layout(w);
  const CodeTraits t = code_traits(w.format, w.bits);
  Tile tile = tile_in(scratch, w, t);
  Ahead ahead(w, first);
  unpack_tile(w, first, count, t, ahead, tile);
  for (int64_t b = 0; b < l.blocks; ++b) {
    copy_numbers(w, l, first, count, b, false, to + b * l.head_bytes());
    if (l.biased) copy_numbers(w, l, first, count, b, true, to + b * l.head_bytes() + l.scale_bytes());
  }
  for (int64_t g = 0; g < l.blocks * l.groups; ++g)
    pack_codes(tile.codes + g * 512, l, to + l.codes_at() + g * l.code_bytes());
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

/// A panel as a tile again, for activations so many that this pays.
inline void unpack_panel(const PanelLayout& l, const uint8_t* panel, Ahead& ahead, Tile& tile) {
  for (int64_t g = 0; g < l.blocks * l.groups; ++g) {
    const uint8_t* head = panel + g / l.groups * l.head_bytes();
    store(tile.scales + g * kRowBlock, load_numbers(head, l.scale_format));
    if (l.biased) store(tile.biases + g * kRowBlock, load_numbers(head + l.scale_bytes(), l.scale_format));
  }
  with_panel_kind(l, [&](auto bits, auto biased) {
    constexpr int kBits = decltype(bits)::kValue;
    constexpr bool kFlip = flipped_in_tiles(kBits, decltype(biased)::kValue != 0);
    unpack_codes<kBits>(l, panel, kFlip ? 128 : 0, ahead, tile.codes);
  });
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
  unpack_panel(l, panel, ahead, tile);
  tile.correction = tile_codes(t).correction;
  return ahead;
}

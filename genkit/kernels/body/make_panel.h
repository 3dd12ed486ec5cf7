// Weight rows as the file has them to panels. @see panels.h

/// Codes [8 steps][64] of a tile to the bytes that stand for them.
inline void pack_codes(const uint8_t* codes, const PanelLayout& l, uint8_t* to) {
  if (l.bits == 8) {
    const uint8_t flip = PanelTag<8, false, false>::kFlipped && !l.biased ? 128 : 0;
    for (int c = 0; c < 512; ++c) to[c] = codes[c] ^ flip;
    return;
  }
  for (int i = 0; i < 4; ++i) {
    const uint8_t *low = codes + 128 * i, *high = low + 64;
    for (int c = 0; c < 64; ++c) to[64 * i + c] = uint8_t((low[c] & 15) | high[c] << 4);
  }
  if (l.bits == 4) return;
  if (l.bits == 6) {
    for (int c = 0; c < 128; ++c) {
      int two = 0;
      for (int j = 0; j < 4; ++j) two |= (codes[64 * (c / 64 * 4 + j) + c % 64] >> 4 & 3) << 2 * j;
      to[256 + c] = uint8_t(two);
    }
    return;
  }
  for (int c = 0; c < 64; ++c) {
    int fifth = 0;
    for (int j = 0; j < 8; ++j) fifth |= (codes[64 * j + c] >> 4 & 1) << j;
    to[256 + c] = uint8_t(fifth);
  }
}

/// Where block `b` of a row is.
inline const uint8_t* block_at(const WeightRows& w, const PanelLayout& l, int64_t row, int64_t b) {
  const int64_t row_bytes = static_cast<int64_t>(w.row_bytes);
  return w.data + row * row_bytes + b * (row_bytes / l.blocks);
}

/// The numbers that scales or biases of a block are made of, as the file has them.
inline const uint8_t* number_at(const WeightRows& w, const PanelLayout& l, int64_t row, int64_t b,
                                bool bias) {
  const int64_t size = l.scale_bytes() / kRowBlock;
  if (w.format == WeightFormat::kAffine) return (bias ? w.biases : w.scales) + (row * l.blocks + b) * size;
  const uint8_t* block = block_at(w, l, row, b);
  // Q6_K ends with its scale; the others begin with it, and the bias follows.
  return w.format == WeightFormat::kQ6_K ? block + 208 : block + bias * size;
}

/// Byte scales and minimums of a block of 256. @param to, mins the row's of the first group.
inline void unpack_byte_scales(WeightFormat format, const uint8_t* block, uint8_t* to, uint8_t* mins) {
  if (format == WeightFormat::kQ6_K) {
    for (int i = 0; i < 16; ++i) to[kRowBlock * i] = block[192 + i] ^ 128;
    return;
  }
  const uint8_t* s = block + 4;  // Q4_K and Q5_K: six bits each
  for (int i = 0; i < 4; ++i) {
    to[kRowBlock * i] = s[i] & 63;
    mins[kRowBlock * i] = s[4 + i] & 63;
    to[kRowBlock * (4 + i)] = uint8_t((s[8 + i] & 15) | s[i] >> 6 << 4);
    mins[kRowBlock * (4 + i)] = uint8_t(s[8 + i] >> 4 | s[4 + i] >> 6 << 4);
  }
}

/// The scales of block `b` of rows [first, first + count); zeros past them.
inline void pack_head(const WeightRows& w, const PanelLayout& l, int64_t first, int count, int64_t b,
                      uint8_t* to) {
  const int64_t size = l.scale_bytes() / kRowBlock;
  __builtin_memset(to, 0, l.head_bytes());
  for (int r = 0; r < count; ++r) {
    __builtin_memcpy(to + r * size, number_at(w, l, first + r, b, false), size);
    if (l.biased)
      __builtin_memcpy(to + l.scale_bytes() + r * size, number_at(w, l, first + r, b, true), size);
    if (!l.super) continue;
    uint8_t* bytes = to + l.scale_bytes() * (l.biased ? 2 : 1) + r;
    unpack_byte_scales(w.format, block_at(w, l, first + r, b), bytes, bytes + l.byte_scales());
  }
}

/// Rows [first, first + count) of a weight that has panels. @param scratch as linear_int8's.
void make_panel(const WeightRows& w, int64_t first, int count, void* scratch, uint8_t* to) {
  const PanelLayout l = panel_layout(w);
  const CodeTraits t = code_traits(w.format, w.bits);
  Tile tile = tile_in(scratch, w, t);
  Ahead ahead(w, first);
  unpack_tile(w, first, count, t, ahead, tile);
  for (int64_t b = 0; b < l.blocks; ++b) pack_head(w, l, first, count, b, to + b * l.head_bytes());
  for (int64_t g = 0; g < l.blocks * l.groups; ++g)
    pack_codes(tile.codes + g * 512, l, to + l.codes_at() + g * l.code_bytes());
}

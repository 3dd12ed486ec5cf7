#include "genkit/kernels/dequantize.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "genkit/base/error.h"
#include "genkit/kernels/half.h"

// Layouts are ggml's block structs, read byte by byte so that alignment and endianness of the
// host do not matter.

namespace genkit {
namespace {

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

uint16_t load16(const uint8_t* p) { return uint16_t(p[0] | (p[1] << 8)); }
uint32_t load32(const uint8_t* p) { return uint32_t(load16(p)) | uint32_t(load16(p + 2)) << 16; }
float load_half(const uint8_t* p) { return half_to_float(load16(p)); }

float load_float(const uint8_t* p) {
  const uint32_t bits = load32(p);
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// 32 numbers: fp16 d, 16 bytes; low nibbles are numbers 0..15, high nibbles 16..31.
void block_q4_0(const uint8_t* b, float* out) {
  const float d = load_half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float((b[2 + i] & 15) - 8);
    out[i + 16] = d * float((b[2 + i] >> 4) - 8);
  }
}

void block_q4_1(const uint8_t* b, float* out) {
  const float d = load_half(b), m = load_half(b + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float(b[4 + i] & 15) + m;
    out[i + 16] = d * float(b[4 + i] >> 4) + m;
  }
}

// As Q4, with the fifth bit of number i in bit i of a 32-bit word.
int five_bits(uint32_t high, const uint8_t* nibbles, int i) {
  const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  return low | int((high >> i) & 1) << 4;
}

void block_q5_0(const uint8_t* b, float* out) {
  const float d = load_half(b);
  const uint32_t high = load32(b + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * float(five_bits(high, b + 6, i) - 16);
}

void block_q5_1(const uint8_t* b, float* out) {
  const float d = load_half(b), m = load_half(b + 2);
  const uint32_t high = load32(b + 4);
  for (int i = 0; i < 32; ++i) out[i] = d * float(five_bits(high, b + 8, i)) + m;
}

void block_q8_0(const uint8_t* b, float* out) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) out[i] = d * float(int8_t(b[2 + i]));
}

// 256 numbers: 16 bytes of (scale, min) nibbles, 64 bytes of 2-bit numbers, fp16 d and dmin.
// Numbers 128h + 32s + j are bits 2s of byte 32h + j.
void block_q2_k(const uint8_t* b, float* out) {
  const uint8_t* qs = b + 16;
  const float d = load_half(b + 80), dmin = load_half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale = b[i / 16];
    const int q = (qs[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    out[i] = (d * float(scale & 15)) * float(q) - dmin * float(scale >> 4);
  }
}

// 256 numbers: 32 bytes of third bits, 64 bytes of 2-bit numbers, 16 packed 6-bit scales, fp16 d.
void block_q3_k(const uint8_t* b, float* out) {
  const uint8_t* qs = b + 32;
  const uint8_t* packed = b + 96;
  const float d = load_half(b + 108);
  float scales[16];
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    scales[g] = d * float((low | high << 4) - 32);
  }
  for (int i = 0; i < 256; ++i) {
    const int low = (qs[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    const int high = (b[i % 32] >> (i / 32)) & 1;
    out[i] = scales[i / 16] * float(low - (high ? 0 : 4));
  }
}

// Scale and minimum of group g of the 12 packed bytes of Q4_K and Q5_K.
void scale_and_min(const uint8_t* packed, int g, int* scale, int* min) {
  if (g < 4) {
    *scale = packed[g] & 63;
    *min = packed[g + 4] & 63;
  } else {
    *scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
    *min = (packed[g + 4] >> 4) | (packed[g] >> 6) << 4;
  }
}

// 256 numbers in 8 groups: fp16 d and dmin, 12 bytes of scales, 128 bytes of nibbles.
// Groups 2k and 2k + 1 are the low and high nibbles of bytes 32k to 32k + 31.
void block_q4_k(const uint8_t* b, float* out) {
  const float d = load_half(b), dmin = load_half(b + 2);
  const uint8_t* qs = b + 16;
  for (int g = 0; g < 8; ++g) {
    int scale, min;
    scale_and_min(b + 4, g, &scale, &min);
    const float dl = d * float(scale), ml = dmin * float(min);
    for (int j = 0; j < 32; ++j) {
      out[32 * g + j] = dl * float((qs[32 * (g / 2) + j] >> (4 * (g % 2))) & 15) - ml;
    }
  }
}

// As Q4_K, with the fifth bit of number j of group g in bit g of byte j of 32 bytes.
void block_q5_k(const uint8_t* b, float* out) {
  const float d = load_half(b), dmin = load_half(b + 2);
  const uint8_t* qh = b + 16;
  const uint8_t* qs = b + 48;
  for (int g = 0; g < 8; ++g) {
    int scale, min;
    scale_and_min(b + 4, g, &scale, &min);
    const float dl = d * float(scale), ml = dmin * float(min);
    for (int j = 0; j < 32; ++j) {
      const int low = (qs[32 * (g / 2) + j] >> (4 * (g % 2))) & 15;
      out[32 * g + j] = dl * float(low | ((qh[j] >> g) & 1) << 4) - ml;
    }
  }
}

// 256 numbers: 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 int8 scales, fp16 d.
// In each half of 128, quarter s takes nibble s / 2 of bytes 32 (s % 2) on, and bits 2s.
void block_q6_k(const uint8_t* b, float* out) {
  const float d = load_half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, s = i / 32 % 4, j = i % 32;
    const int low = (b[64 * half + 32 * (s % 2) + j] >> (4 * (s / 2))) & 15;
    const int high = (b[128 + 32 * half + j] >> (2 * s)) & 3;
    out[i] = (d * float(int8_t(b[192 + i / 16]))) * float((low | high << 4) - 32);
  }
}

void block_iq4_nl(const uint8_t* b, float* out) {
  const float d = load_half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float(kIq4Values[b[2 + i] & 15]);
    out[i + 16] = d * float(kIq4Values[b[2 + i] >> 4]);
  }
}

// 256 numbers in 8 groups: fp16 d, upper bit pairs and low nibbles of the scales, nibbles.
void block_iq4_xs(const uint8_t* b, float* out) {
  const float d = load_half(b);
  const uint16_t high = load16(b + 2);
  for (int g = 0; g < 8; ++g) {
    const int low = (b[4 + g / 2] >> (4 * (g % 2))) & 15;
    const float dl = d * float((low | ((high >> (2 * g)) & 3) << 4) - 32);
    const uint8_t* qs = b + 8 + 16 * g;
    for (int i = 0; i < 16; ++i) {
      out[32 * g + i] = dl * float(kIq4Values[qs[i] & 15]);
      out[32 * g + i + 16] = dl * float(kIq4Values[qs[i] >> 4]);
    }
  }
}

void block_mxfp4(const uint8_t* b, float* out) {
  const float d = e8m0_half_to_float(b[0]);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float(kE2m1Doubled[b[1 + i] & 15]);
    out[i + 16] = d * float(kE2m1Doubled[b[1 + i] >> 4]);
  }
}

void block_f32(const uint8_t* b, float* out) { *out = load_float(b); }
void block_f16(const uint8_t* b, float* out) { *out = load_half(b); }
void block_bf16(const uint8_t* b, float* out) { *out = bfloat_to_float(load16(b)); }

using BlockFunction = void (*)(const uint8_t*, float*);

// In the order of WeightFormat.
constexpr BlockFunction kBlocks[] = {
    block_f32,  block_f16,  block_bf16, block_q4_0, block_q4_1, block_q5_0,   block_q5_1,   block_q8_0,
    block_q2_k, block_q3_k, block_q4_k, block_q5_k, block_q6_k, block_iq4_nl, block_iq4_xs, block_mxfp4,
};
static_assert(std::size(kBlocks) == size_t(WeightFormat::kAffine));

float load_scale(WeightFormat format, const void* data, int64_t i) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  switch (format) {
    case WeightFormat::kF32:
      return load_float(bytes + 4 * i);
    case WeightFormat::kF16:
      return load_half(bytes + 2 * i);
    default:
      return bfloat_to_float(load16(bytes + 2 * i));
  }
}

void check_affine(const AffineRow& row, int64_t values) {
  if (row.bits < 2 || row.bits > 8 || row.bits == 7) {
    throw ArgumentError(fmt::format("bits: expected 2, 3, 4, 5, 6 or 8, got {}", row.bits));
  }
  if (row.group_size != 32 && row.group_size != 64 && row.group_size != 128) {
    throw ArgumentError(fmt::format("group_size: expected 32, 64 or 128, got {}", row.group_size));
  }
  if (is_quantized(row.scale_format)) {
    throw ArgumentError(
        fmt::format("scale_format: expected F32, F16 or BF16, got {}", traits(row.scale_format).name));
  }
  if (values < 0 || values % row.group_size != 0) {
    throw ArgumentError(
        fmt::format("values: expected a multiple of group_size {}, got {}", row.group_size, values));
  }
}

}  // namespace

size_t row_bytes(WeightFormat format, int64_t values) {
  if (format == WeightFormat::kAffine) {
    throw ArgumentError("format: a row of affine groups has no size without bits and group_size");
  }
  const FormatTraits& t = traits(format);
  if (values < 0 || values % t.block_values != 0) {
    throw ArgumentError(
        fmt::format("values: expected a multiple of {} for {}, got {}", t.block_values, t.name, values));
  }
  const uint64_t blocks = uint64_t(values) / uint64_t(t.block_values);
  if (blocks > uint64_t(std::numeric_limits<int64_t>::max()) / uint64_t(t.block_bytes)) {
    throw ArgumentError(fmt::format("values: {} numbers of {} overflow the address space", values, t.name));
  }
  return size_t(blocks) * size_t(t.block_bytes);
}

void dequantize_row(WeightFormat format, const void* row, int64_t values, float* out) {
  row_bytes(format, values);  // checks both
  const FormatTraits& t = traits(format);
  const BlockFunction block = kBlocks[size_t(format)];
  const auto* bytes = static_cast<const uint8_t*>(row);
  for (int64_t done = 0; done < values; done += t.block_values) {
    block(bytes, out + done);
    bytes += t.block_bytes;
  }
}

void dequantize_affine_row(const AffineRow& row, int64_t values, float* out) {
  check_affine(row, values);
  const auto* bytes = static_cast<const uint8_t*>(row.words);
  const unsigned mask = (1u << row.bits) - 1;
  for (int64_t i = 0; i < values; ++i) {
    const int64_t bit = i * row.bits;
    const int shift = int(bit % 8);
    unsigned word = bytes[bit / 8];
    if (shift + row.bits > 8) word |= unsigned(bytes[bit / 8 + 1]) << 8;
    const float q = float((word >> shift) & mask);
    const int64_t group = i / row.group_size;
    out[i] =
        load_scale(row.scale_format, row.scales, group) * q + load_scale(row.scale_format, row.biases, group);
  }
}

}  // namespace genkit

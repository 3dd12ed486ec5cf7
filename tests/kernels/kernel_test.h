#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/dequantize.h"
#include "genkit/kernels/half.h"
#include "genkit/kernels/kernel_table.h"

namespace genkit::kernels::testing {

/// The tables of every instruction set that this machine has.
inline std::vector<const KernelTable*> all_tables() {
  std::vector<const KernelTable*> tables;
  for (const char* name : {"portable", "avx2", "avx512", "avx512vnni", "amx", "neon"}) {
    if (const KernelTable* t = kernels_named(name)) tables.push_back(t);
  }
  return tables;
}

/// Targets with a fused multiply-add promise the same bits; the portable one rounds twice.
inline bool fuses(const KernelTable& t) { return std::string(t.name) != "portable"; }

inline std::vector<float> random_floats(size_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(engine);
  return numbers;
}

/// A random weight of any format, at an address that is a multiple of one byte only.
class RandomWeight {
 public:
  RandomWeight(WeightFormat format, int64_t out, int64_t in, uint32_t seed, int bits = 4, int group_size = 64,
               WeightFormat scale_format = WeightFormat::kF16) {
    std::mt19937 engine(seed);
    rows_.format = format;
    rows_.in = in;
    if (format == WeightFormat::kAffine) {
      rows_.bits = bits;
      rows_.group_size = group_size;
      rows_.scale_format = scale_format;
      rows_.row_bytes = static_cast<size_t>(in) * bits / 8;
      scales_ = numbers(scale_format, out * in / group_size, engine, 0.02f);
      biases_ = numbers(scale_format, out * in / group_size, engine, 0.1f);
      rows_.scales = scales_.data() + 1;
      rows_.biases = biases_.data() + 1;
    } else {
      rows_.row_bytes = row_bytes(format, in);
    }
    if (!is_quantized(format)) {
      bytes_ = numbers(format, out * in, engine, 0.05f);
    } else {
      bytes_.resize(1 + out * rows_.row_bytes);
      for (auto& b : bytes_) b = static_cast<uint8_t>(engine());
      if (format != WeightFormat::kAffine) sane_scales(out * in / traits(format).block_values, engine);
    }
    rows_.data = bytes_.data() + 1;
  }

  const WeightRows& rows() const { return rows_; }

  /// Every byte of a quantised weight's blocks becomes `byte`, but for scales of fp16 and MXFP4.
  void fill(uint8_t byte, uint32_t seed) {
    std::mt19937 engine(seed);
    std::fill(bytes_.begin(), bytes_.end(), byte);
    if (rows_.format == WeightFormat::kAffine) return;
    const auto blocks = (bytes_.size() - 1) / traits(rows_.format).block_bytes;
    sane_scales(static_cast<int64_t>(blocks), engine);
  }

  /// By the scalar reference.
  std::vector<float> row(int64_t r) const {
    std::vector<float> out(rows_.in);
    const uint8_t* data = rows_.data + r * rows_.row_bytes;
    if (rows_.format != WeightFormat::kAffine) {
      dequantize_row(rows_.format, data, rows_.in, out.data());
      return out;
    }
    const size_t offset = r * (rows_.in / rows_.group_size) * traits(rows_.scale_format).block_bytes;
    dequantize_affine_row({.words = data,
                           .scales = rows_.scales + offset,
                           .biases = rows_.biases + offset,
                           .scale_format = rows_.scale_format,
                           .bits = rows_.bits,
                           .group_size = rows_.group_size},
                          rows_.in, out.data());
    return out;
  }

 private:
  static std::vector<uint8_t> numbers(WeightFormat format, int64_t count, std::mt19937& engine, float scale) {
    const int size = traits(format).block_bytes;
    std::vector<uint8_t> bytes(1 + count * size);
    std::normal_distribution<float> normal(0.0f, scale);
    for (int64_t i = 0; i < count; ++i) {
      const float x = normal(engine);
      const uint16_t half = format == WeightFormat::kF16 ? float_to_half(x) : float_to_bfloat(x);
      std::memcpy(&bytes[1 + i * size], size == 4 ? static_cast<const void*>(&x) : &half, size);
    }
    return bytes;
  }

  // Random bytes where a format keeps its fp16 scale could be an infinity.
  void sane_scales(int64_t blocks, std::mt19937& engine) {
    std::vector<int> at;
    switch (rows_.format) {
      case WeightFormat::kQ2_K:
        at = {80, 82};
        break;
      case WeightFormat::kQ3_K:
        at = {108};
        break;
      case WeightFormat::kQ6_K:
        at = {208};
        break;
      case WeightFormat::kQ4_1:
      case WeightFormat::kQ5_1:
      case WeightFormat::kQ4_K:
      case WeightFormat::kQ5_K:
        at = {0, 2};
        break;
      default:
        at = {0};
        break;
    }
    std::normal_distribution<float> normal(0.0f, 0.01f);
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t* block = &bytes_[1 + b * traits(rows_.format).block_bytes];
      for (const int offset : at) {
        const uint16_t half = float_to_half(normal(engine));
        if (rows_.format == WeightFormat::kMXFP4)
          block[0] = static_cast<uint8_t>(118 + engine() % 8);
        else
          std::memcpy(block + offset, &half, 2);
      }
    }
  }

  WeightRows rows_;
  std::vector<uint8_t> bytes_, scales_, biases_;
};

struct WithThreads {
  explicit WithThreads(int count) : before(num_threads()) { set_num_threads(count); }
  ~WithThreads() { set_num_threads(before); }
  int before;
};

inline const std::vector<WeightFormat>& all_formats() {
  static const std::vector<WeightFormat> formats = [] {
    std::vector<WeightFormat> all;
    for (int f = 0; f <= static_cast<int>(WeightFormat::kAffine); ++f)
      all.push_back(static_cast<WeightFormat>(f));
    return all;
  }();
  return formats;
}

}  // namespace genkit::kernels::testing

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace genkit {

/// How the numbers of a weight matrix lie in memory. The block formats are GGUF's, byte for byte.
enum class WeightFormat : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
  kAffine,  ///< MLX affine groups: uint32 words of `bits`-wide values, a scale and a bias a group
};

/// Static facts of a format. `block_values` numbers are stored together in `block_bytes` bytes;
/// dense formats have one number a block; kAffine has zeros (its layout depends on bits and group).
struct FormatTraits {
  std::string_view name;  ///< as GGUF spells it: "Q4_K"
  int block_values;
  int block_bytes;
};

const FormatTraits& traits(WeightFormat format);

/// The format of that name, in any case, or nothing.
std::optional<WeightFormat> weight_format_from_name(std::string_view name);

/// True for formats that hold quantised numbers.
bool is_quantized(WeightFormat format);

}  // namespace genkit

#include "genkit/kernels/weight_format.h"

#include <array>

namespace genkit {
namespace {

// In the order of the enumeration. Sizes: ggml-common.h of ggml.
constexpr std::array<FormatTraits, 17> kTraits{{
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"BF16", 1, 2},
    {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},
    {"Q2_K", 256, 84},
    {"Q3_K", 256, 110},
    {"Q4_K", 256, 144},
    {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},
    {"IQ4_NL", 32, 18},
    {"IQ4_XS", 256, 136},
    {"MXFP4", 32, 17},
    {"affine", 0, 0},
}};
static_assert(kTraits.size() == size_t(WeightFormat::kAffine) + 1);

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }

bool equal_in_any_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

}  // namespace

const FormatTraits& traits(WeightFormat format) { return kTraits[size_t(format)]; }

std::optional<WeightFormat> weight_format_from_name(std::string_view name) {
  for (size_t i = 0; i < kTraits.size(); ++i) {
    if (equal_in_any_case(kTraits[i].name, name)) return WeightFormat(i);
  }
  return std::nullopt;
}

bool is_quantized(WeightFormat format) { return format > WeightFormat::kBF16; }

}  // namespace genkit

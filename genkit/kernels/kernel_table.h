#pragma once

#include <cstddef>
#include <cstdint>

#include "genkit/kernels/weight_format.h"

// What each instruction set provides. Callers use the functions of linear.h, attention.h and
// layers.h, which divide the work among threads and call these.

namespace genkit::kernels {

/// Rows of a weight matrix in memory, one after another.
struct WeightRows {
  WeightFormat format = WeightFormat::kF32;
  WeightFormat scale_format = WeightFormat::kF32;  ///< kAffine: of scales and biases
  int bits = 0;                                    ///< kAffine
  int group_size = 0;                              ///< kAffine
  int64_t in = 0;                                  ///< numbers of a row
  size_t row_bytes = 0;
  const uint8_t* data = nullptr;
  const uint8_t* scales = nullptr;  ///< kAffine
  const uint8_t* biases = nullptr;  ///< kAffine
  const uint8_t* panels = nullptr;  ///< the same numbers in panels (body/panels.h), or null
};

/// Products of `rows` activations with the weight's rows [first, first + count).
struct LinearTask {
  const WeightRows* weight = nullptr;
  const float* bias = nullptr;  ///< [all rows of the weight], or null
  int64_t first = 0;
  int count = 0;  ///< linear_f32: up to kRowBlock
  int64_t rows = 0;
  float* y = nullptr;  ///< [rows, ldy]; columns first.. are written
  int64_t ldy = 0;
};
constexpr int kRowBlock = 16;

/// Number type of cached keys and values.
enum class CacheType : uint8_t { kF32, kF16, kBF16 };
constexpr int kPageSlots = 64;  ///< positions of a page of the cache

/// Query rows of one kv head over pages [page_begin, page_end) of a row's cache.
struct AttendTask {
  const float* q = nullptr;        ///< [rows, head_dim]
  const int* positions = nullptr;  ///< [rows] absolute
  int rows = 0;
  int head_dim = 0;
  int value_dim = 0;
  int page_begin = 0, page_end = 0;
  const void* const* keys = nullptr;    ///< by page: [kPageSlots, head_dim] of the kv head
  const void* const* values = nullptr;  ///< by page: [kPageSlots, value_dim]
  CacheType type = CacheType::kF32;
  float scale = 1;
  float softcap = 0;        ///< 0: none
  int window = 0;           ///< 0: all
  float* maxima = nullptr;  ///< [rows]
  float* sums = nullptr;    ///< [rows]
  float* acc = nullptr;     ///< [rows, value_dim]
};

/// Heads that attention by tiles of bfloat16 takes.
constexpr bool fits_bf16_tiles(int head_dim, int value_dim) {
  return head_dim % 32 == 0 && value_dim % 32 == 0;
}

constexpr int kMaximaStretch = 256;  ///< numbers whose maximum is kept
constexpr int kHistogramBins = 1024;

enum class ActivationKind : uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu, kIdentity };

/// Products of rounded activations with a weight of any quantised format; `in` is a multiple of 32.
struct RoundedProduct {
  const char* name;  ///< what activations are rounded to: "int8" or "bf16"
  /// Bytes of `rows` rounded activations.
  size_t (*size)(int64_t rows, int64_t in);
  /// Rounds activations [kRowBlock * block, kRowBlock * (block + 1)) of x [rows, in] to their places in
  /// `out`, which is aligned to 64.
  void (*round)(const float* x, int64_t rows, int64_t in, int64_t block, void* out);
  size_t (*scratch)(const WeightRows& w);
  void (*multiply)(const LinearTask& task, const void* rounded, void* scratch);
  /// Weight rows that it likes to be given at a time.
  int rows_at_a_time;
};

struct KernelTable {
  const char* name;

  size_t (*linear_f32_scratch)(const WeightRows& w, int64_t rows);
  /// y = x w^T + bias in fp32; x [rows, ldx].
  void (*linear_f32)(const LinearTask& task, const float* x, int64_t ldx, void* scratch);
  /// Activations rounded to int8 with a scale for every 32 (linear_int8.h).
  RoundedProduct linear_int8;
  /// linear_int8, or both sides rounded to bfloat16 (linear_bf16.h), where that is fast for one row of
  /// activations and for many.
  RoundedProduct linear_fast;
  /// Whether `linear_fast` is not for this weight, so that linear_int8 takes its place; null: never.
  bool (*fast_is_int8)(const WeightRows& w);
  /// Bytes of a panel of kRowBlock rows of this weight, 0 where the format has none (body/panels.h).
  size_t (*panel_bytes)(const WeightRows& w);
  /// Rows [first, first + count) as a panel. @param scratch as linear_int8's.
  void (*make_panel)(const WeightRows& w, int64_t first, int count, void* scratch, uint8_t* to);
  /// Row `row` in fp32, equal to dequantize_row bit for bit.
  void (*dequantize)(const WeightRows& w, int64_t row, float* out);

  // Of one row of n numbers; null parameters are left out.
  void (*rms_norm)(const float* x, int64_t n, const float* weight, float eps, float offset, float* out);
  void (*layer_norm)(const float* x, int64_t n, const float* weight, const float* bias, float eps,
                     float* out);
  void (*add)(const float* a, const float* b, int64_t n, float* out);
  /// The heads of one token; rotates the first 2 * half_dims numbers of each.
  void (*rope)(const float* x, int64_t heads, int64_t dim, const float* cosines, const float* sines,
               int64_t half_dims, bool interleaved, float* out);
  /// activation(x) * up
  void (*activate)(ActivationKind kind, const float* x, const float* up, int64_t n, float* out);
  void (*softcap)(const float* x, int64_t n, float cap, float* out);

  size_t (*attend_scratch)(const AttendTask& task);
  /// Fills maxima, sums and acc.
  void (*attend)(const AttendTask& task, void* scratch);
  /// The target's best where rounding is allowed: attend, or tiles of bfloat16 (attention_bf16.h).
  size_t (*attend_fast_scratch)(const AttendTask& task);
  void (*attend_fast)(const AttendTask& task, void* scratch);
  void (*merge)(const AttendTask& into, const AttendTask& from);
  /// x / divisor
  void (*divide)(const float* x, int64_t n, float divisor, float* out);

  int64_t (*argmax)(const float* x, int64_t n);
  float (*sum_exp)(const float* x, int64_t n, float shift);
  /// lanes [16 a stretch], tops [one a stretch]; true where every number is below infinity.
  bool (*maxima)(const float* x, int64_t n, float* lanes, float* tops);
  /// sums [2]: of exp(x - shift), and of exp(x - shift) (shift - x).
  void (*exp_moments)(const float* x, int64_t n, float shift, float* sums);
  /// Adds exp(x - shift) to bins [kHistogramBins] by |x - center| * scale.
  void (*exp_histogram)(const float* x, int64_t n, float shift, float center, float scale, float* bins);
  int64_t (*above)(const float* x, int64_t n, float bound, int64_t* from, int32_t* indices, int64_t room);
};

/// Names as MLXGK_ISA spells them: portable, avx2, avx512, avx512vnni, amx, neon.
/// @return the table of that name, or null when this machine or build lacks it.
const KernelTable* kernels_named(const char* name);

/// The best instruction set of this machine, or the one that the environment variable MLXGK_ISA
/// names. @throws ArgumentError naming MLXGK_ISA and the choices when that one is missing.
const KernelTable& active_table();

}  // namespace genkit::kernels

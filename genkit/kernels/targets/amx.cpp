#include "genkit/kernels/targets/target.h"

// Compiled with the instructions that CMakeLists.txt gives this file.

namespace genkit::kernels {
namespace {
#include "genkit/kernels/body/all.h"
#include "genkit/kernels/body/tiles.h"
// After tiles.h, whose tiles it uses.
#include "genkit/kernels/body/linear_bf16.h"
#include "genkit/kernels/body/linear_int8_tiles.h"
// After linear_bf16.h, whose sums it uses.
#include "genkit/kernels/body/attention_bf16.h"

constexpr KernelTable make_tile_table() {
  KernelTable table = make_table("amx");
  table.linear_int8 = {"int8",   int8_tiles_size, round_to_int8_tiles, linear_int8_scratch, linear_int8_tiles,
                       kRowBlock};
  table.fast_is_int8 = rather_int8;
  table.linear_fast = {"bf16", bf16_size, round_to_bf16, linear_bf16_scratch, linear_bf16, 256};
  table.attend_fast_scratch = attend_bf16_scratch;
  table.attend_fast = attend_bf16;
  return table;
}
}  // namespace
extern const KernelTable kAmx;
const KernelTable kAmx = make_tile_table();
}  // namespace genkit::kernels

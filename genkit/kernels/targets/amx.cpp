#include "genkit/kernels/targets/target.h"

// Compiled with the instructions that CMakeLists.txt gives this file.

namespace genkit::kernels {
namespace {
#include "genkit/kernels/body/all.h"
#include "genkit/kernels/body/linear_amx.h"

constexpr KernelTable make_tile_table() {
  KernelTable table = make_table("amx");
  table.linear_int8 = linear_int8_tiles;
  table.arranged_size = arranged_size;
  table.arrange = arrange;
  return table;
}
}  // namespace
extern const KernelTable kAmx;
const KernelTable kAmx = make_tile_table();
}  // namespace genkit::kernels

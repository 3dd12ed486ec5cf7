#include "genkit/kernels/targets/target.h"

// Compiled with the instructions that CMakeLists.txt gives this file.

namespace genkit::kernels {
namespace {
#include "genkit/kernels/body/all.h"
}  // namespace
extern const KernelTable kAvx512;
const KernelTable kAvx512 = make_table("avx512");
}  // namespace genkit::kernels

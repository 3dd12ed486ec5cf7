#include "genkit/kernels/targets/target.h"

// Compiled with the instructions that CMakeLists.txt gives this file.

namespace genkit::kernels {
namespace {
#include "genkit/kernels/body/all.h"
}  // namespace
extern const KernelTable kAvx2;
const KernelTable kAvx2 = make_table("avx2");
}  // namespace genkit::kernels

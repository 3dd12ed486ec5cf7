#include "genkit/kernels/targets/target.h"

// Compiled with the instructions that CMakeLists.txt gives this file.

namespace genkit::kernels {
namespace {
#include "genkit/kernels/body/all.h"
}  // namespace
extern const KernelTable kNeon;
const KernelTable kNeon = make_table("neon");
}  // namespace genkit::kernels

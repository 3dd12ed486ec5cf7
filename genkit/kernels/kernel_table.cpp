#include "genkit/kernels/kernel_table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>
#include <string_view>

#include "genkit/base/error.h"

namespace genkit::kernels {

extern const KernelTable kPortable;
#if defined(__x86_64__)
extern const KernelTable kAvx2, kAvx512, kAvx512Vnni;
#elif defined(__aarch64__)
extern const KernelTable kNeon;
#endif

namespace {

struct Target {
  const KernelTable* table;
  bool (*runs_here)();
};

#if defined(__x86_64__)
// clang's builtin does not know "f16c" before version 15.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

// Best first.
const Target kTargets[] = {
#if defined(__x86_64__)
    {&kAvx512Vnni, has_vnni},
    {&kAvx512, has_avx512},
    {&kAvx2, has_avx2},
#elif defined(__aarch64__)
    {&kNeon, [] { return true; }},
#endif
    {&kPortable, [] { return true; }},
};

const KernelTable& choose() {
  const char* wanted = std::getenv("MLXGK_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    for (const Target& t : kTargets) {
      if (t.runs_here()) return *t.table;
    }
  } else if (const KernelTable* table = kernels_named(wanted)) {
    return *table;
  }
  std::string names;
  for (const Target& t : kTargets) {
    if (t.runs_here()) names += std::string(names.empty() ? "" : ", ") + t.table->name;
  }
  throw ArgumentError("MLXGK_ISA: expected one of " + names + ", got \"" + wanted + "\"");
}

}  // namespace

const KernelTable* kernels_named(const char* name) {
  for (const Target& t : kTargets) {
    if (std::string_view(t.table->name) == name) return t.runs_here() ? t.table : nullptr;
  }
  return nullptr;
}

const KernelTable& active_table() {
  static const KernelTable& table = choose();
  return table;
}

}  // namespace genkit::kernels

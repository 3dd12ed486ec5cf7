#include "genkit/kernels/kernel_table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <string>
#include <string_view>

#include "genkit/base/error.h"

namespace genkit::kernels {

extern const KernelTable kPortable;
#if defined(__x86_64__)
extern const KernelTable kAvx2, kAvx512, kAvx512Vnni, kAmx;
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

// The system keeps tiles only for a process that has asked; its yes holds for all threads.
bool has_amx() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr unsigned kTile = 1u << 24, kTileBf16 = 1u << 22;  // of leaf 7's edx
  constexpr unsigned kAvx512Bf16 = 1u << 5;                   // of the next leaf's eax
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!has_vnni() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kTile) == 0 || (edx & kTileBf16) == 0) return false;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0 || (eax & kAvx512Bf16) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Best first.
const Target kTargets[] = {
#if defined(__x86_64__)
    {&kAmx, has_amx},
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

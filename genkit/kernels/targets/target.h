#pragma once

// Everything that a target's file may include. The bodies stand in an unnamed namespace and use no
// library templates: a function that the linker shares between files could otherwise come from
// the one compiled for instructions that the machine lacks.

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "genkit/kernels/kernel_table.h"

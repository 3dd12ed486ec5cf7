// All kernels of a target, in the order in which they use each other. @see simd.h
// clang-format off
#include "genkit/kernels/body/simd.h"
#include "genkit/kernels/body/unpack.h"
#include "genkit/kernels/body/linear_f32.h"
#include "genkit/kernels/body/row_codes.h"
#include "genkit/kernels/body/int8_rows.h"
#include "genkit/kernels/body/linear_row.h"
#include "genkit/kernels/body/int8_tile.h"
#include "genkit/kernels/body/panels.h"
#include "genkit/kernels/body/make_panel.h"
#include "genkit/kernels/body/linear_panels.h"
#include "genkit/kernels/body/linear_int8.h"
#include "genkit/kernels/body/functions.h"
#include "genkit/kernels/body/layers.h"
#include "genkit/kernels/body/attention.h"
#include "genkit/kernels/body/sampling.h"
// clang-format on

constexpr KernelTable make_table(const char* name) {
  KernelTable table{};
  table.name = name;
  table.linear_f32_scratch = linear_f32_scratch;
  table.linear_f32 = linear_f32;
  table.linear_int8 =
      table.linear_fast = {"int8", int8_size, round_to_int8, linear_int8_scratch, linear_int8, kRowBlock};
  table.panel_bytes = panel_bytes;
  table.make_panel = make_panel;
  table.dequantize = dequantize;
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.add = add_rows;
  table.rope = rope;
  table.activate = activate;
  table.softcap = softcap;
  table.attend_scratch = table.attend_fast_scratch = attend_scratch;
  table.attend = table.attend_fast = attend;
  table.merge = merge;
  table.divide = scale_row;
  table.argmax = argmax;
  table.sum_exp = sum_exp;
  table.maxima = maxima;
  table.exp_moments = exp_moments;
  table.exp_histogram = exp_histogram;
  table.above = above;
  return table;
}

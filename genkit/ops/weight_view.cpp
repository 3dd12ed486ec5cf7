#include "genkit/ops/weight_view.h"

#include <fmt/format.h>

#include "genkit/base/error.h"
#include "genkit/kernels/dequantize.h"
#include "genkit/ops/eager.h"

namespace genkit::ops {
namespace {

[[noreturn]] void refuse(const Weight& w, const std::string& what) {
  throw ArgumentError(fmt::format("{}: {}", w.name.empty() ? "weight" : w.name, what));
}

mx::Dtype dense_dtype(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF16:
      return mx::float16;
    case WeightFormat::kBF16:
      return mx::bfloat16;
    default:
      return mx::float32;
  }
}

WeightFormat format_of(mx::Dtype dtype) {
  if (dtype == mx::float16) return WeightFormat::kF16;
  if (dtype == mx::bfloat16) return WeightFormat::kBF16;
  return WeightFormat::kF32;
}

mx::Shape with_last(mx::Shape shape, int64_t last) {
  shape.back() = static_cast<int>(last);
  return shape;
}

void expect_shape(const Weight& w, const char* part, const mx::array& a, const mx::Shape& shape) {
  if (a.shape() != shape)
    refuse(w, fmt::format("expected {} of shape {}, got {}", part, to_string(shape), to_string(a.shape())));
}

void check_affine(const Weight& w, int64_t in) {
  const bool bits_known =
      w.bits == 2 || w.bits == 3 || w.bits == 4 || w.bits == 5 || w.bits == 6 || w.bits == 8;
  if (!bits_known) refuse(w, fmt::format("bits: expected 2, 3, 4, 5, 6 or 8, got {}", w.bits));
  if (w.group_size != 32 && w.group_size != 64 && w.group_size != 128)
    refuse(w, fmt::format("group_size: expected 32, 64 or 128, got {}", w.group_size));
  if (in % w.group_size != 0)
    refuse(w, fmt::format("rows of {} numbers are no whole number of groups of {}", in, w.group_size));
  if (!w.scales || !w.biases) refuse(w, "affine weights need scales and biases");
  if (w.data.dtype() != mx::uint32) refuse(w, "expected data of dtype uint32");
  expect_shape(w, "data", w.data, with_last(w.shape, in * w.bits / 32));
  expect_shape(w, "scales", *w.scales, with_last(w.shape, in / w.group_size));
  expect_shape(w, "biases", *w.biases, with_last(w.shape, in / w.group_size));
  if (w.scales->dtype() != w.biases->dtype()) refuse(w, "scales and biases must have one dtype");
}

}  // namespace

std::string name_of(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kExact) return "fp32";
  const kernels::KernelTable& table = kernels::active_table();
  return (arithmetic == Arithmetic::kInt8 ? table.linear_int8 : table.linear_fast).name;
}

kernels::Product product_of(WeightFormat format, Arithmetic arithmetic) {
  if (!is_quantized(format) || arithmetic == Arithmetic::kExact) return kernels::Product::kF32;
  return arithmetic == Arithmetic::kInt8 ? kernels::Product::kInt8 : kernels::Product::kFast;
}

void check_weight(const Weight& w) {
  if (w.shape.empty()) refuse(w, "a weight needs at least one dimension");
  const int64_t in = w.shape.back();
  if (w.format == WeightFormat::kAffine) return check_affine(w, in);
  if (!is_quantized(w.format)) {
    if (w.data.dtype() != dense_dtype(w.format))
      refuse(w, fmt::format("data does not have the dtype of format {}", traits(w.format).name));
    return expect_shape(w, "data", w.data, w.shape);
  }
  const int block = traits(w.format).block_values;
  if (in % block != 0)
    refuse(w, fmt::format("rows of {} numbers are no whole number of {} blocks of {}", in,
                          traits(w.format).name, block));
  if (w.data.dtype() != mx::uint8) refuse(w, "expected data of dtype uint8");
  expect_shape(w, "data", w.data, with_last(w.shape, static_cast<int64_t>(row_bytes(w.format, in))));
}

WeightLayout weight_layout(const Weight& w) {
  WeightLayout layout;
  layout.format = w.format;
  layout.bits = w.bits;
  layout.group_size = w.group_size;
  layout.arithmetic = w.arithmetic;
  layout.panels = w.panels;
  layout.in = w.shape.back();
  layout.out = w.shape.size() > 1 ? w.shape[w.shape.size() - 2] : 1;
  if (w.format == WeightFormat::kAffine) {
    layout.row_bytes = static_cast<size_t>(layout.in) * w.bits / 8;
    layout.scale_format = format_of(w.scales->dtype());
  } else {
    layout.row_bytes = row_bytes(w.format, layout.in);
  }
  return layout;
}

std::vector<mx::array> weight_inputs(const Weight& w) {
  if (w.format == WeightFormat::kAffine) return {w.data, *w.scales, *w.biases};
  return {w.data};
}

Weight weight_of(const WeightLayout& layout, const std::vector<mx::array>& inputs, int first,
                 mx::Shape shape) {
  Weight w;
  w.format = layout.format;
  w.shape = std::move(shape);
  w.data = inputs[first];
  w.bits = layout.bits;
  w.group_size = layout.group_size;
  w.arithmetic = layout.arithmetic;
  w.panels = layout.panels;
  if (layout.format == WeightFormat::kAffine) {
    w.scales = inputs[first + 1];
    w.biases = inputs[first + 2];
  }
  return w;
}

namespace {

kernels::WeightRows rows_like(const WeightLayout& layout) {
  kernels::WeightRows rows;
  rows.format = layout.format;
  rows.scale_format = layout.scale_format;
  rows.bits = layout.bits;
  rows.group_size = layout.group_size;
  rows.in = layout.in;
  rows.row_bytes = layout.row_bytes;
  return rows;
}

}  // namespace

kernels::Product product_of(const Weight& w) { return product_of(w.format, w.arithmetic); }

kernels::WeightRows resident_rows(const Weight& w) {
  kernels::WeightRows rows = rows_like(weight_layout(w));
  rows.data = w.data.data<uint8_t>();
  if (w.scales) rows.scales = w.scales->data<uint8_t>();
  if (w.biases) rows.biases = w.biases->data<uint8_t>();
  return rows;
}

kernels::WeightRows weight_rows(const mx::Stream& stream, const WeightLayout& layout,
                                const std::vector<mx::array>& inputs, int first) {
  kernels::WeightRows rows = rows_like(layout);
  rows.data = row_major(stream, inputs[first]).data<uint8_t>();
  if (layout.format == WeightFormat::kAffine) {
    rows.scales = row_major(stream, inputs[first + 1]).data<uint8_t>();
    rows.biases = row_major(stream, inputs[first + 2]).data<uint8_t>();
  }
  return rows;
}

}  // namespace genkit::ops

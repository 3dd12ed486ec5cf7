#include "genkit/io/weight_rows.h"

#include <fmt/format.h>
#include <mlx/allocator.h>
#include <mlx/ops.h>

#include <cstring>
#include <numeric>
#include <optional>

#include "genkit/base/error.h"

namespace genkit::io {
namespace {

namespace mx = mlx::core;

mx::array allocate(const mx::Shape& shape, mx::Dtype dtype) {
  size_t bytes = dtype.size();
  for (const auto extent : shape) bytes *= size_t(extent);
  return mx::array(mx::allocator::malloc(bytes), shape, dtype);
}

mx::array evaluated(mx::array a) {
  a = mx::contiguous(a);
  a.eval();
  return a;
}

// Applies `change` to data, scales and biases, which have the same rows.
template <typename Change>
ops::Weight for_each_part(const ops::Weight& w, const mx::Shape& shape, Change change) {
  ops::Weight out = w;
  out.shape = shape;
  out.data = change(w.data);
  if (w.scales) out.scales = change(*w.scales);
  if (w.biases) out.biases = change(*w.biases);
  return out;
}

size_t row_bytes_of(const mx::array& a, int rows) { return rows == 0 ? 0 : a.nbytes() / size_t(rows); }

mx::array permuted(const mx::array& lazy, const std::vector<int>& order) {
  const mx::array a = evaluated(lazy);
  mx::array out = allocate(a.shape(), a.dtype());
  const size_t bytes = row_bytes_of(a, int(order.size()));
  for (size_t r = 0; r < order.size(); ++r) {
    std::memcpy(out.data<char>() + r * bytes, a.data<char>() + size_t(order[r]) * bytes, bytes);
  }
  return out;
}

mx::array sliced(const mx::array& lazy, int axis, int begin, int end) {
  const mx::array a = evaluated(lazy);
  mx::Shape shape = a.shape();
  const int rows = shape[axis];
  shape[axis] = end - begin;
  mx::array out = allocate(shape, a.dtype());
  const int matrices = std::accumulate(shape.begin(), shape.begin() + axis, 1, std::multiplies<>());
  const size_t bytes = row_bytes_of(a, rows * matrices);
  const size_t part = bytes * size_t(end - begin);
  for (int m = 0; m < matrices; ++m) {
    std::memcpy(out.data<char>() + size_t(m) * part,
                a.data<char>() + (size_t(m) * size_t(rows) + size_t(begin)) * bytes, part);
  }
  return out;
}

bool same_layout(const mx::array& a, const mx::array& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype();
}

bool same_layout(const std::optional<mx::array>& a, const std::optional<mx::array>& b) {
  return a.has_value() == b.has_value() && (!a || same_layout(*a, *b));
}

mx::array stacked(const std::vector<mx::array>& parts) {
  // What a gradient is taken of stays part of the graph.
  for (const mx::array& part : parts) {
    if (part.is_tracer()) return mx::stack(parts);
  }
  mx::Shape shape = parts[0].shape();
  shape.insert(shape.begin(), int(parts.size()));
  mx::array out = allocate(shape, parts[0].dtype());
  const size_t bytes = parts[0].nbytes();
  for (size_t i = 0; i < parts.size(); ++i) {
    const mx::array part = evaluated(parts[i]);
    std::memcpy(out.data<char>() + i * bytes, part.data<char>(), bytes);
  }
  return out;
}

}  // namespace

ops::Weight dense_weight(const mx::array& a, const std::string& origin) {
  ops::Weight w;
  w.shape = a.shape();
  w.data = a;
  if (a.dtype() == mx::float64) {
    const mx::Device cpu(mx::Device::cpu);
    w.data = evaluated(mx::astype(a, mx::float32, cpu));
  } else if (a.dtype() == mx::float16) {
    w.format = WeightFormat::kF16;
  } else if (a.dtype() == mx::bfloat16) {
    w.format = WeightFormat::kBF16;
  } else if (a.dtype() != mx::float32) {
    throw FormatError(fmt::format("{}: expected floating-point numbers, got {}", origin,
                                  mx::kindof(a.dtype()) == mx::Dtype::Kind::b ? "booleans" : "integers"));
  }
  return w;
}

ops::Weight permute_rows(const ops::Weight& w, const std::vector<int>& order) {
  return for_each_part(w, w.shape, [&](const mx::array& a) { return permuted(a, order); });
}

ops::Weight slice_rows(const ops::Weight& w, int begin, int end) {
  const int axis = w.shape.size() == 1 ? 0 : int(w.shape.size()) - 2;
  mx::Shape shape = w.shape;
  shape[axis] = end - begin;
  return for_each_part(w, shape, [&](const mx::array& a) { return sliced(a, axis, begin, end); });
}

ops::Weight stack(const std::vector<ops::Weight>& parts) {
  const ops::Weight& first = parts.at(0);
  for (const ops::Weight& part : parts) {
    if (part.format != first.format || part.bits != first.bits || part.group_size != first.group_size ||
        !same_layout(part.data, first.data) || !same_layout(part.scales, first.scales) ||
        !same_layout(part.biases, first.biases)) {
      throw FormatError(
          fmt::format("{}: its shape or format differs from that of {}", part.name, first.name));
    }
  }
  ops::Weight out = first;
  out.shape.insert(out.shape.begin(), int(parts.size()));
  const auto gather = [&](auto member) {
    std::vector<mx::array> arrays;
    for (const ops::Weight& part : parts) arrays.push_back(member(part));
    return stacked(arrays);
  };
  out.data = gather([](const ops::Weight& w) { return w.data; });
  if (first.scales) out.scales = gather([](const ops::Weight& w) { return *w.scales; });
  if (first.biases) out.biases = gather([](const ops::Weight& w) { return *w.biases; });
  return out;
}

ops::Weight transpose(const ops::Weight& w) {
  ops::Weight out = w;
  out.shape = {w.shape.at(1), w.shape.at(0)};
  out.data = evaluated(mx::transpose(w.data));
  return out;
}

ops::Weight minus_one(const ops::Weight& w) {
  ops::Weight out;
  out.name = w.name;
  out.shape = w.shape;
  const mx::array a = evaluated(ops::dequantize(w));
  out.data = allocate(w.shape, mx::float32);
  for (size_t i = 0; i < a.size(); ++i) out.data.data<float>()[i] = a.data<float>()[i] - 1.0f;
  return out;
}

}  // namespace genkit::io

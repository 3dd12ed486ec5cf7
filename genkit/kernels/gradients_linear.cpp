#include <algorithm>
#include <memory>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/gradients.h"

namespace genkit::kernels {
namespace {

// Outputs of a weight that are turned round at a time: a head of a large vocabulary is never unpacked
// whole.
constexpr int64_t kChunk = 2048;

WeightRows dense_rows(const float* data, int64_t in, int64_t stride) {
  WeightRows w;
  w.in = in;
  w.row_bytes = static_cast<size_t>(stride) * sizeof(float);
  w.data = reinterpret_cast<const uint8_t*>(data);
  return w;
}

// y = x w^T of dense fp32 matrices, w [out, in].
void multiply(const float* x, int64_t rows, int64_t in, const float* w, int64_t out, float* y) {
  LinearTarget target;
  target.weight = dense_rows(w, in, in);
  target.out = out;
  target.y = y;
  linear(x, rows, in, {target});
}

WeightRows rows_from(WeightRows w, int64_t first) {
  w.data += static_cast<size_t>(first) * w.row_bytes;
  if (w.format == WeightFormat::kAffine) {
    const size_t offset =
        static_cast<size_t>(first) * (w.in / w.group_size) * traits(w.scale_format).block_bytes;
    w.scales += offset;
    w.biases += offset;
  }
  return w;
}

// Columns [first, first + count) of x [rows, n].
void copy_columns(const float* x, int64_t rows, int64_t n, int64_t first, int64_t count, float* out) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * n + first, count, out + r * count);
}

}  // namespace

void transpose(const float* x, int64_t rows, int64_t columns, float* out) {
  constexpr int64_t kTile = 16;
  parallel_for(columns, 4 * kTile, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c += kTile) {
      const int64_t last = std::min(end, c + kTile);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = c; i < last; ++i) out[i * rows + r] = x[r * columns + i];
      }
    }
  });
}

void linear_input_gradient(const float* dy, int64_t rows, const WeightRows& w, int64_t out, float* dx) {
  const int64_t in = w.in, chunk = std::min(out, kChunk);
  const auto numbers = std::make_unique<float[]>(chunk * in), turned = std::make_unique<float[]>(chunk * in);
  const auto part = std::make_unique<float[]>(rows * chunk), sum = std::make_unique<float[]>(rows * in);
  std::fill(dx, dx + rows * in, 0.0f);
  for (int64_t first = 0; first < out; first += chunk) {
    const int64_t count = std::min(chunk, out - first);
    take_rows(rows_from(w, first), nullptr, count, numbers.get());
    transpose(numbers.get(), count, in, turned.get());
    copy_columns(dy, rows, out, first, count, part.get());
    multiply(part.get(), rows, count, turned.get(), in, sum.get());
    for (int64_t i = 0; i < rows * in; ++i) dx[i] += sum[i];
  }
}

void linear_weight_gradient(const float* x, const float* dy, int64_t rows, int64_t in, int64_t out,
                            float* dw) {
  const auto x_turned = std::make_unique<float[]>(rows * in),
             dy_turned = std::make_unique<float[]>(rows * out);
  transpose(x, rows, in, x_turned.get());
  transpose(dy, rows, out, dy_turned.get());
  multiply(dy_turned.get(), out, rows, x_turned.get(), in, dw);
}

void expert_linear_gradient(const ExpertTask& task, float* dx, float* dw, float* dbias) {
  const int64_t in = task.weight.in, out = task.out, count = task.tokens * task.choices;
  std::vector<std::vector<int64_t>> rows_of(task.num_experts);
  for (int64_t i = 0; i < count; ++i) rows_of[task.experts[i]].push_back(i);
  std::fill(dx, dx + (task.row_a_choice ? count : task.tokens) * in, 0.0f);
  std::vector<float> x, dy, part;
  for (int64_t e = 0; e < task.num_experts; ++e) {
    const auto& rows = rows_of[e];
    const int64_t n = static_cast<int64_t>(rows.size());
    if (n == 0) {
      if (dw) std::fill_n(dw + e * out * in, out * in, 0.0f);
      if (dbias) std::fill_n(dbias + e * out, out, 0.0f);
      continue;
    }
    x.resize(n * in);
    dy.resize(n * out);
    part.resize(n * in);
    for (int64_t r = 0; r < n; ++r) {
      const int64_t from = task.row_a_choice ? rows[r] : rows[r] / task.choices;
      std::copy_n(task.x + from * in, in, x.data() + r * in);
      std::copy_n(task.y + rows[r] * out, out, dy.data() + r * out);
    }
    linear_input_gradient(dy.data(), n, rows_from(task.weight, e * out), out, part.data());
    for (int64_t r = 0; r < n; ++r) {
      float* to = dx + (task.row_a_choice ? rows[r] : rows[r] / task.choices) * in;
      for (int64_t i = 0; i < in; ++i) to[i] += part[r * in + i];
    }
    if (dw) linear_weight_gradient(x.data(), dy.data(), n, in, out, dw + e * out * in);
    if (dbias) column_sums(dy.data(), n, out, dbias + e * out);
  }
}

void embedding_gradient(const int32_t* ids, const float* dy, int64_t tokens, int64_t vocab, int64_t n,
                        float* dw) {
  std::fill(dw, dw + vocab * n, 0.0f);
  parallel_for(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < tokens; ++t) {
      float* to = dw + ids[t] * n;
      for (int64_t i = begin; i < end; ++i) to[i] += dy[t * n + i];
    }
  });
}

}  // namespace genkit::kernels

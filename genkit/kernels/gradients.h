#pragma once

#include <cstdint>
#include <vector>

#include "genkit/kernels/attention.h"
#include "genkit/kernels/layers.h"
#include "genkit/kernels/linear.h"

// Gradients of the kernels in layers.h, linear.h and attention.h. Everything fp32; sums over rows are
// cut into pieces that do not depend on the number of threads and added in order.

namespace genkit::kernels {

/// @param x [rows, columns]. @param out [columns, rows].
void transpose(const float* x, int64_t rows, int64_t columns, float* out);
/// out[i] = sum over rows of x[row, i].
void column_sums(const float* x, int64_t rows, int64_t n, float* out);

/// x, dy and dx [rows, n]; dweight and dbias [n], null where they are not wanted.
struct NormGradient {
  const float* x = nullptr;
  const float* dy = nullptr;
  int64_t rows = 0, n = 0;
  NormParams params;
  float* dx = nullptr;
  float* dweight = nullptr;
  float* dbias = nullptr;
};
void rms_norm_gradient(const NormGradient& task);
void layer_norm_gradient(const NormGradient& task);

/// Of activation(x) * up. @param up and dup may be null together.
void activate_gradient(ActivationKind kind, const float* x, const float* up, const float* dy, int64_t n,
                       float* dx, float* dup);
/// Of cap * tanh(x / cap).
void softcap_gradient(const float* x, const float* dy, int64_t n, float cap, float* dx);

/// dx = dy w. @param dy [rows, out]. @param dx [rows, in].
void linear_input_gradient(const float* dy, int64_t rows, const WeightRows& w, int64_t out, float* dx);
/// dw = dy^T x. @param x [rows, in], dy [rows, out]. @param dw [out, in].
void linear_weight_gradient(const float* x, const float* dy, int64_t rows, int64_t in, int64_t out,
                            float* dw);

/// Of expert_linear(). `task.y` is dy; dx like task.x; dw [experts, out, in] and dbias [experts, out],
/// both filled whole, may be null.
void expert_linear_gradient(const ExpertTask& task, float* dx, float* dw, float* dbias);

/// dw[ids[t]] += dy[t], in order, from zeros. @param dw [vocab, n].
void embedding_gradient(const int32_t* ids, const float* dy, int64_t tokens, int64_t vocab, int64_t n,
                        float* dw);

struct AttentionGradient {
  /// Rows one after another, each seeing itself alone: `length` keys, the last `queries` of which
  /// have a query.
  struct Row {
    int length = 0, queries = 0;
  };
  std::vector<Row> rows;
  AttentionShape shape;
  const float* q = nullptr;                ///< [queries, heads, head_dim]
  const float *k = nullptr, *v = nullptr;  ///< [tokens, kv_heads, dim]
  const float* dout = nullptr;             ///< [queries, heads, value_dim]
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;
};
void attention_gradient(const AttentionGradient& task);

/// out[t] = log_sum_exp(x[t]) - x[t, targets[t]]; 0 where the target is negative.
/// @param x [tokens, n].
void cross_entropy(const float* x, const int32_t* targets, int64_t tokens, int64_t n, float* out);
/// dx[t] = dy[t] (softmax(x[t]) - one_hot(targets[t])); zeros where the target is negative.
void cross_entropy_gradient(const float* x, const int32_t* targets, const float* dy, int64_t tokens,
                            int64_t n, float* dx);
/// out = x - log_sum_exp(x), row by row.
void log_softmax(const float* x, int64_t rows, int64_t n, float* out);
/// dx = dy - exp(y) sum(dy). @param y log_softmax's result.
void log_softmax_gradient(const float* y, const float* dy, int64_t rows, int64_t n, float* dx);

}  // namespace genkit::kernels

#include "genkit/ops/attention.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/kernels/half.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

float load_number(KvType type, const void* from, size_t i) {
  switch (type) {
    case KvType::kF32:
      return static_cast<const float*>(from)[i];
    case KvType::kF16:
      return half_to_float(static_cast<const uint16_t*>(from)[i]);
    case KvType::kBF16:
      return bfloat_to_float(static_cast<const uint16_t*>(from)[i]);
  }
  return 0;
}

// One query head at `position` over everything of the store that it may see.
void attend_one(const float* q, const KvStore& store, int kv_head, int position, const AttentionParams& p,
                float* out) {
  const int first = p.window > 0 ? std::max(0, position - p.window + 1) : 0;
  std::vector<float> scores(position - first + 1);
  float best = -INFINITY;
  auto row = [&](int t) {
    return static_cast<size_t>(kv_head) * KvPage::kPageTokens + t % KvPage::kPageTokens;
  };
  for (int t = first; t <= position; ++t) {
    float dot = 0;
    for (int i = 0; i < p.head_dim; ++i)
      dot += q[i] * load_number(store.shape().type, store.page_at(t).keys(), row(t) * p.head_dim + i);
    dot *= p.scale;
    if (p.softcap > 0) dot = p.softcap * std::tanh(dot / p.softcap);
    best = std::max(best, scores[t - first] = dot);
  }
  float sum = 0;
  for (float& s : scores) sum += s = std::exp(s - best);
  std::fill(out, out + p.value_dim, 0.0f);
  for (int t = first; t <= position; ++t) {
    for (int i = 0; i < p.value_dim; ++i)
      out[i] += scores[t - first] *
                load_number(store.shape().type, store.page_at(t).values(), row(t) * p.value_dim + i);
  }
  for (int i = 0; i < p.value_dim; ++i) out[i] /= sum;
}

// Inputs q, k, v. Appends to the stores, so it is evaluated once and has no gradient.
class StoreAttention : public CpuPrimitive {
 public:
  StoreAttention(mx::Stream stream, std::vector<AttentionRow> rows, AttentionParams params)
      : CpuPrimitive(stream), rows_(std::move(rows)), params_(params) {}
  const char* name() const override { return "genkit::StoreAttention"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& out = outputs[0];
    allocate(out);
    const auto q = row_major(stream(), inputs[0]), k = row_major(stream(), inputs[1]),
               v = row_major(stream(), inputs[2]);
    dispatch(stream(), [rows = rows_, p = params_, q = q.data<float>(), k = k.data<float>(),
                        v = v.data<float>(), out = out.data<float>()]() mutable {
      for (const auto& row : rows) {
        KvStore& store = *row.store;
        if (store.length() != row.position)
          throw ArgumentError(fmt::format("attention: the cache holds {} positions, the row starts at {}",
                                          store.length(), row.position));
        store.append(k, v, row.length);
        for (int t = 0; t < row.length; ++t) {
          for (int h = 0; h < p.heads; ++h)
            attend_one(q + (static_cast<size_t>(t) * p.heads + h) * p.head_dim, store,
                       h / (p.heads / p.kv_heads), row.position + t, p,
                       out + (static_cast<size_t>(t) * p.heads + h) * p.value_dim);
        }
        q += static_cast<size_t>(row.length) * p.heads * p.head_dim;
        out += static_cast<size_t>(row.length) * p.heads * p.value_dim;
        k += static_cast<size_t>(row.length) * p.kv_heads * p.head_dim;
        v += static_cast<size_t>(row.length) * p.kv_heads * p.value_dim;
      }
    });
  }

 private:
  std::vector<AttentionRow> rows_;
  AttentionParams params_;
};

void check_attention(const mx::array& q, const mx::array& k, const mx::array& v,
                     const std::vector<AttentionRow>& rows, const AttentionParams& p) {
  if (p.heads <= 0 || p.kv_heads <= 0 || p.heads % p.kv_heads != 0 || p.head_dim <= 0 || p.value_dim <= 0)
    throw ArgumentError(fmt::format("attention: {} heads of {} and {} kv_heads of {} are not possible",
                                    p.heads, p.head_dim, p.kv_heads, p.value_dim));
  const int tokens = q.ndim() > 0 ? q.shape(0) : 0;
  auto expect = [&](const char* what, const mx::array& a, const mx::Shape& shape) {
    if (a.shape() != shape)
      throw ArgumentError(fmt::format("attention: expected {} of shape {}, got {}", what, to_string(shape),
                                      to_string(a.shape())));
  };
  expect("q", q, {tokens, p.heads, p.head_dim});
  expect("k", k, {tokens, p.kv_heads, p.head_dim});
  expect("v", v, {tokens, p.kv_heads, p.value_dim});
  int64_t total = 0;
  for (const auto& row : rows) {
    if (row.length < 0 || row.position < 0)
      throw ArgumentError(
          fmt::format("attention: a row of {} tokens at position {}", row.length, row.position));
    if (!row.store && row.position != 0)
      throw ArgumentError(
          fmt::format("attention: a row without a cache starts at position 0, not at {}", row.position));
    if (row.store) {
      const auto& s = row.store->shape();
      if (s.kv_heads != p.kv_heads || s.head_dim != p.head_dim || s.value_dim != p.value_dim)
        throw ArgumentError(
            fmt::format("attention: the cache holds {} heads of {} and {}, not {} of {} and {}", s.kv_heads,
                        s.head_dim, s.value_dim, p.kv_heads, p.head_dim, p.value_dim));
    }
    total += row.length;
  }
  if (total != tokens)
    throw ArgumentError(fmt::format("attention: rows of {} tokens in all, queries of {}", total, tokens));
}

}  // namespace

mx::array attention(const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<AttentionRow>& rows, const AttentionParams& params) {
  check_attention(q, k, v, rows, params);
  std::vector<int> lengths;
  bool any_store = false;
  for (const auto& row : rows) {
    lengths.push_back(row.length);
    any_store |= row.store != nullptr;
  }
  if (!any_store) return composed::attention(q, k, v, lengths, params);
  auto with_stores = rows;
  for (auto& row : with_stores) {
    // A row that keeps nothing still needs its keys while it is attended to.
    if (!row.store)
      row.store = std::make_shared<KvStore>(
          KvShape{params.kv_heads, params.head_dim, params.value_dim, 0, KvType::kF32});
  }
  auto f32 = [](const mx::array& a) { return a.dtype() == mx::float32 ? a : mx::astype(a, mx::float32); };
  return mx::array({q.shape(0), params.heads, params.value_dim}, mx::float32,
                   std::make_shared<StoreAttention>(cpu_stream(), with_stores, params),
                   {f32(q), f32(k), f32(v)});
}

}  // namespace genkit::ops

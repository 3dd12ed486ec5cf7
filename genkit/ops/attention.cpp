#include "genkit/ops/attention.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/kernels/attention.h"
#include "genkit/kernels/gradients.h"
#include "genkit/ops/composed.h"
#include "genkit/ops/eager.h"
#include "genkit/ops/primitive.h"

namespace genkit::ops {
namespace {

kernels::CacheType type_of(KvType type) {
  switch (type) {
    case KvType::kF16:
      return kernels::CacheType::kF16;
    case KvType::kBF16:
      return kernels::CacheType::kBF16;
    default:
      return kernels::CacheType::kF32;
  }
}
static_assert(kernels::kPageSlots == KvPage::kPageTokens);

// Pointers to everything of the store that the row's queries see.
kernels::AttentionRows pages_of(const KvStore& store, const AttentionRow& row, const AttentionParams& p) {
  kernels::AttentionRows rows;
  rows.length = row.num_queries();
  rows.position = row.position + row.length - rows.length;
  // A bounded row's store of a sliding layer may have a narrower window than the layer.
  rows.window =
      p.window > 0 && store.shape().window > 0 ? std::min(p.window, store.shape().window) : p.window;
  const int oldest =
      rows.window > 0 ? std::max(0, rows.position - rows.window + 1) : store.oldest_seen(rows.position);
  if (oldest < store.first())
    throw ArgumentError(
        fmt::format("attention: position {} is needed, the cache begins at {}", oldest, store.first()));
  rows.first_page = oldest / KvPage::kPageTokens;
  for (int page = rows.first_page; page * KvPage::kPageTokens < store.length(); ++page) {
    const KvPage& held = store.page_at(page * KvPage::kPageTokens);
    rows.keys.push_back(held.keys());
    rows.values.push_back(held.values());
  }
  if (rows.window == 0 && store.bound().max_size > 0) {
    rows.bound.max_size = store.bound().max_size;
    rows.bound.sinks = store.bound().sinks;
    for (int at = 0; at < std::min(store.bound().sinks, store.length()); at += KvPage::kPageTokens) {
      rows.bound.sink_keys.push_back(store.page_at(at).keys());
      rows.bound.sink_values.push_back(store.page_at(at).values());
    }
  }
  return rows;
}

kernels::AttentionShape shape_of(const AttentionParams& p, KvType type) {
  return {p.heads, p.kv_heads, p.head_dim, p.value_dim, type_of(type), p.scale, p.softcap, p.window, p.fast};
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
                        v = v.data<float>(), out = out.data<float>()] { attend(rows, p, q, k, v, out); });
  }

 private:
  std::vector<AttentionRow> rows_;
  AttentionParams params_;
};

// Rows that keep nothing: the keys live in stores of their own while the node runs.
class OwnAttention : public CpuPrimitive {
 public:
  OwnAttention(mx::Stream stream, std::vector<AttentionRow> rows, AttentionParams params)
      : CpuPrimitive(stream), rows_(std::move(rows)), params_(params) {}
  const char* name() const override { return "genkit::Attention"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    StoreAttention(stream(), rows_, params_).eval_cpu(inputs, outputs);
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& argnums, const std::vector<mx::array>&) override {
    auto evaluate = [rows = rows_, p = params_](const mx::Stream& stream, const std::vector<mx::array>& in,
                                                std::vector<mx::array>& out) {
      kernels::AttentionGradient task;
      for (const auto& row : rows) task.rows.push_back({row.length, row.num_queries()});
      task.shape = shape_of(p, KvType::kF32);
      task.q = row_major(stream, in[0]).data<float>();
      task.k = row_major(stream, in[1]).data<float>();
      task.v = row_major(stream, in[2]).data<float>();
      task.dout = row_major(stream, in[3]).data<float>();
      for (auto& a : out) allocate(a);
      task.dq = out[0].data<float>();
      task.dk = out[1].data<float>();
      task.dv = out[2].data<float>();
      dispatch(stream, [task = std::move(task)] { kernels::attention_gradient(task); });
    };
    const auto all =
        function_node("genkit::AttentionGradient", {primals[0], primals[1], primals[2], cotangents[0]},
                      {primals[0].shape(), primals[1].shape(), primals[2].shape()},
                      {mx::float32, mx::float32, mx::float32}, {evaluate, nullptr, nullptr});
    return gradients_of(name(), all, argnums);
  }

 protected:
  std::vector<mx::array> composed(const std::vector<mx::array>& inputs) const override {
    std::vector<int> lengths;
    for (const auto& row : rows_) {
      if (row.num_queries() != row.length) return CpuPrimitive::composed(inputs);
      lengths.push_back(row.length);
    }
    return {composed::attention(inputs[0], inputs[1], inputs[2], lengths, params_)};
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
  if (!(p.scale > 0) || p.softcap < 0 || p.window < 0)
    throw ArgumentError(fmt::format("attention: scale {}, softcap {} and window {} are not possible", p.scale,
                                    p.softcap, p.window));
  const int tokens = k.ndim() > 0 ? k.shape(0) : 0, queries = q.ndim() > 0 ? q.shape(0) : 0;
  auto expect = [&](const char* what, const mx::array& a, const mx::Shape& shape) {
    if (a.shape() != shape)
      throw ArgumentError(fmt::format("attention: expected {} of shape {}, got {}", what, to_string(shape),
                                      to_string(a.shape())));
  };
  expect("q", q, {queries, p.heads, p.head_dim});
  expect("k", k, {tokens, p.kv_heads, p.head_dim});
  expect("v", v, {tokens, p.kv_heads, p.value_dim});
  int64_t total = 0, asked = 0;
  std::optional<KvType> type;
  for (const auto& row : rows) {
    if (row.length < 0 || row.position < 0)
      throw ArgumentError(
          fmt::format("attention: a row of {} tokens at position {}", row.length, row.position));
    if (row.queries > row.length)
      throw ArgumentError(
          fmt::format("attention: a row of {} tokens with {} queries", row.length, row.queries));
    if (!row.store && row.position != 0)
      throw ArgumentError(
          fmt::format("attention: a row without a cache starts at position 0, not at {}", row.position));
    if (row.store) {
      const auto& s = row.store->shape();
      if (!type) type = s.type;
      if (*type != s.type) throw ArgumentError("attention: the rows' caches have different number types");
      if (s.kv_heads != p.kv_heads || s.head_dim != p.head_dim || s.value_dim != p.value_dim)
        throw ArgumentError(
            fmt::format("attention: the cache holds {} heads of {} and {}, not {} of {} and {}", s.kv_heads,
                        s.head_dim, s.value_dim, p.kv_heads, p.head_dim, p.value_dim));
    }
    total += row.length;
    asked += row.num_queries();
  }
  if (asked != queries)
    throw ArgumentError(fmt::format("attention: rows of {} tokens in all, queries of {}", asked, queries));
  if (total != tokens)
    throw ArgumentError(fmt::format("attention: rows of {} tokens in all, keys of {}", total, tokens));
}

}  // namespace

KvType cache_type(const AttentionParams& params) {
  return on_cpu() && kernels::rounds_to_bf16(shape_of(params, KvType::kF32)) ? KvType::kBF16 : KvType::kF32;
}

void attend(const std::vector<AttentionRow>& given, const AttentionParams& p, const float* q, const float* k,
            const float* v, float* out) {
  std::vector<AttentionRow> rows = given;
  const auto kept = std::find_if(rows.begin(), rows.end(), [](const auto& row) { return row.store; });
  const KvType type = kept == rows.end() ? cache_type(p) : kept->store->shape().type;
  for (auto& row : rows) {
    // A row that keeps nothing still needs its keys while it is attended to.
    if (!row.store)
      row.store = std::make_shared<KvStore>(KvShape{p.kv_heads, p.head_dim, p.value_dim, 0, type});
    if (row.store->length() != row.position)
      throw ArgumentError(fmt::format("attention: the cache holds {} positions, the row starts at {}",
                                      row.store->length(), row.position));
  }
  std::vector<kernels::AttentionRows> tasks;
  for (const auto& row : rows) {
    if (row.length == 0) continue;
    row.store->append(k, v, row.length);
    k += static_cast<size_t>(row.length) * p.kv_heads * p.head_dim;
    v += static_cast<size_t>(row.length) * p.kv_heads * p.value_dim;
    const size_t queries = static_cast<size_t>(row.num_queries());
    if (queries == 0) continue;
    auto task = pages_of(*row.store, row, p);
    task.q = q;
    task.out = out;
    tasks.push_back(std::move(task));
    q += queries * p.heads * p.head_dim;
    out += queries * p.heads * p.value_dim;
  }
  if (tasks.empty()) return;
  kernels::attention(tasks, shape_of(p, type));
}

mx::array attention(const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<AttentionRow>& rows, const AttentionParams& params) {
  check_attention(q, k, v, rows, params);
  std::vector<int> lengths;
  bool own = true, whole = true;
  for (const auto& row : rows) {
    lengths.push_back(row.length);
    own &= row.store == nullptr;
    whole &= row.num_queries() == row.length;
  }
  if (own && whole && !on_cpu()) return composed::attention(q, k, v, lengths, params);
  const mx::Shape shape = {q.shape(0), params.heads, params.value_dim};
  std::vector<mx::array> inputs = {to_f32(q), to_f32(k), to_f32(v)};
  std::shared_ptr<mx::Primitive> primitive;
  if (own)
    primitive = std::make_shared<OwnAttention>(cpu_stream(), rows, params);
  else
    primitive = std::make_shared<StoreAttention>(cpu_stream(), rows, params);
  const mx::array y(shape, mx::float32, std::move(primitive), std::move(inputs));
  return q.dtype() == mx::float32 ? y : mx::astype(y, q.dtype());
}

}  // namespace genkit::ops

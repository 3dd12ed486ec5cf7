#include <algorithm>
#include <cmath>
#include <memory>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/gradients.h"

namespace genkit::kernels {
namespace {

// Queries whose scores are held at a time.
constexpr int64_t kQueries = 64;

// One key head of one row.
struct Unit {
  int64_t first_key, length, first_query, queries;
  int kv_head;
};

// What a unit and the query heads that look at it contribute.
class HeadGradient {
 public:
  HeadGradient(const AttentionGradient& task, const Unit& unit)
      : task_(task),
        s_(task.shape),
        unit_(unit),
        keys_(unit.length * s_.head_dim),
        values_(unit.length * s_.value_dim),
        dkeys_(unit.length * s_.head_dim),
        dvalues_(unit.length * s_.value_dim) {}

  void run() {
    const Unit& u = unit_;
    gather(task_.k, s_.kv_heads, u.kv_head, s_.head_dim, u.first_key, u.length, keys_.data());
    gather(task_.v, s_.kv_heads, u.kv_head, s_.value_dim, u.first_key, u.length, values_.data());
    const int group = s_.heads / s_.kv_heads;
    for (int h = u.kv_head * group; h < (u.kv_head + 1) * group; ++h) {
      for (int64_t first = 0; first < u.queries; first += kQueries)
        run_queries(h, first, std::min(kQueries, u.queries - first));
    }
    scatter(dkeys_.data(), s_.kv_heads, u.kv_head, s_.head_dim, u.first_key, u.length, task_.dk);
    scatter(dvalues_.data(), s_.kv_heads, u.kv_head, s_.value_dim, u.first_key, u.length, task_.dv);
  }

 private:
  // Tokens [first, first + count) of one head of [tokens, heads, dim].
  static void gather(const float* from, int64_t heads, int64_t head, int64_t dim, int64_t first,
                     int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(from + ((first + i) * heads + head) * dim, dim, to + i * dim);
  }
  static void scatter(const float* from, int64_t heads, int64_t head, int64_t dim, int64_t first,
                      int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(from + i * dim, dim, to + ((first + i) * heads + head) * dim);
  }

  // y [rows, out] = x w^T; w [out, in].
  static void multiply(const float* x, int64_t rows, int64_t in, const float* w, int64_t out, float* y) {
    LinearTarget target;
    target.weight.in = in;
    target.weight.row_bytes = static_cast<size_t>(in) * sizeof(float);
    target.weight.data = reinterpret_cast<const uint8_t*>(w);
    target.out = out;
    target.y = y;
    linear(x, rows, in, {target});
  }

  // sum[i] += (x^T y)[i]. @param x [rows, n], y [rows, m].
  static void add_product(const std::vector<float>& x, int64_t rows, int64_t n, const std::vector<float>& y,
                          int64_t m, float* sum) {
    std::vector<float> x_turned(rows * n), y_turned(rows * m), product(n * m);
    transpose(x.data(), rows, n, x_turned.data());
    transpose(y.data(), rows, m, y_turned.data());
    multiply(x_turned.data(), n, rows, y_turned.data(), m, product.data());
    for (int64_t i = 0; i < n * m; ++i) sum[i] += product[i];
  }

  // Queries [first, first + count) of head h against the keys that any of them sees.
  void run_queries(int h, int64_t first, int64_t count) {
    const int64_t dim = s_.head_dim, value_dim = s_.value_dim;
    const int64_t begin_position = unit_.length - unit_.queries + first;
    const int64_t low = s_.window > 0 ? std::max<int64_t>(0, begin_position - s_.window + 1) : 0;
    const int64_t seen = begin_position + count - low;
    std::vector<float> q(count * dim), dout(count * value_dim), p(count * seen), dp(count * seen);
    gather(task_.q, s_.heads, h, dim, unit_.first_query + first, count, q.data());
    gather(task_.dout, s_.heads, h, value_dim, unit_.first_query + first, count, dout.data());
    multiply(q.data(), count, dim, keys_.data() + low * dim, seen, p.data());
    multiply(dout.data(), count, value_dim, values_.data() + low * value_dim, seen, dp.data());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = begin_position + i;
      const int64_t begin = s_.window > 0 ? std::max(low, position - s_.window + 1) - low : 0;
      score_row(p.data() + i * seen, dp.data() + i * seen, begin, position + 1 - low, seen);
    }
    // Now p are the probabilities and dp the gradients of q . k.
    std::vector<float> dq(count * dim), keys_turned(seen * dim);
    transpose(keys_.data() + low * dim, seen, dim, keys_turned.data());
    multiply(dp.data(), count, seen, keys_turned.data(), dim, dq.data());
    scatter(dq.data(), s_.heads, h, dim, unit_.first_query + first, count, task_.dq);
    add_product(dp, count, seen, q, dim, dkeys_.data() + low * dim);
    add_product(p, count, seen, dout, value_dim, dvalues_.data() + low * value_dim);
  }

  // One query that sees keys [begin, end) of `seen`: q . k to probabilities, and the gradients of the
  // probabilities to those of q . k.
  void score_row(float* p, float* dp, int64_t begin, int64_t end, int64_t seen) const {
    std::vector<float> slope(seen, s_.scale);
    float best = -INFINITY;
    for (int64_t j = begin; j < end; ++j) {
      p[j] *= s_.scale;
      if (s_.softcap > 0) {
        const float t = std::tanh(p[j] / s_.softcap);
        p[j] = t * s_.softcap;
        slope[j] = s_.scale * (1.0f - t * t);
      }
      best = std::max(best, p[j]);
    }
    float total = 0, inner = 0;
    for (int64_t j = begin; j < end; ++j) total += p[j] = std::exp(p[j] - best);
    for (int64_t j = begin; j < end; ++j) {
      p[j] /= total;
      inner += p[j] * dp[j];
    }
    for (int64_t j = begin; j < end; ++j) dp[j] = p[j] * (dp[j] - inner) * slope[j];
    for (float* row : {p, dp}) {
      std::fill(row, row + begin, 0.0f);
      std::fill(row + end, row + seen, 0.0f);
    }
  }

  const AttentionGradient& task_;
  const AttentionShape& s_;
  const Unit& unit_;
  std::vector<float> keys_, values_, dkeys_, dvalues_;
};

}  // namespace

void attention_gradient(const AttentionGradient& task) {
  std::vector<Unit> units;
  int64_t first_key = 0, first_query = 0;
  for (const auto& row : task.rows) {
    for (int h = 0; h < task.shape.kv_heads; ++h)
      units.push_back({first_key, row.length, first_query, row.queries, h});
    first_key += row.length;
    first_query += row.queries;
  }
  parallel_for(static_cast<int64_t>(units.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (units[i].length > 0) HeadGradient(task, units[i]).run();
    }
  });
}

}  // namespace genkit::kernels

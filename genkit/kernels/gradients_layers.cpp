#include <algorithm>
#include <cmath>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/gradients.h"
#include "genkit/kernels/sampling.h"

namespace genkit::kernels {
namespace {

// Rows whose contributions to a parameter's gradient are added up together.
constexpr int64_t kPieceRows = 32;

int64_t rows_of(int64_t n) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)); }

// each(row, sums) adds a row's share to sums [count, n]; the pieces' sums are added in order to
// totals[0..count), those that are not null.
template <class Each>
void sum_over_rows(int64_t rows, int64_t n, int count, float* const* totals, Each each) {
  const int64_t pieces = (rows + kPieceRows - 1) / kPieceRows;
  std::vector<float> sums(static_cast<size_t>(pieces * count * n));
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t last = std::min(rows, (p + 1) * kPieceRows);
      for (int64_t r = p * kPieceRows; r < last; ++r) each(r, sums.data() + p * count * n);
    }
  });
  for (int c = 0; c < count; ++c) {
    if (!totals[c]) continue;
    std::fill(totals[c], totals[c] + n, 0.0f);
    for (int64_t p = 0; p < pieces; ++p) {
      const float* from = sums.data() + (p * count + c) * n;
      for (int64_t i = 0; i < n; ++i) totals[c][i] += from[i];
    }
  }
}

// x's normed row is (x - mean) * scale.
struct RowNorm {
  float mean, scale;
};

RowNorm row_norm(const float* x, int64_t n, float eps, bool centred) {
  float mean = 0, squares = 0;
  if (centred) {
    for (int64_t i = 0; i < n; ++i) mean += x[i];
    mean /= static_cast<float>(n);
  }
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(n) + eps)};
}

// With g = dy * weight and h the normed row: dx = scale (g - mean(g) - h mean(g h)), without mean(g)
// where the norm does not centre.
void norm_gradient(const NormGradient& t, bool centred) {
  const NormParams& p = t.params;
  float* const totals[] = {t.dweight, t.dbias};
  sum_over_rows(t.rows, t.n, 2, totals, [&](int64_t row, float* sums) {
    const float *x = t.x + row * t.n, *dy = t.dy + row * t.n;
    float* dx = t.dx + row * t.n;
    const RowNorm norm = row_norm(x, t.n, p.eps, centred);
    float g_mean = 0, gh_mean = 0;
    for (int64_t i = 0; i < t.n; ++i) {
      const float h = (x[i] - norm.mean) * norm.scale;
      const float g = p.weight ? dy[i] * (p.weight[i] + p.offset) : dy[i];
      g_mean += g;
      gh_mean += g * h;
      sums[i] += dy[i] * h;
      sums[t.n + i] += dy[i];
    }
    g_mean = centred ? g_mean / static_cast<float>(t.n) : 0.0f;
    gh_mean /= static_cast<float>(t.n);
    for (int64_t i = 0; i < t.n; ++i) {
      const float h = (x[i] - norm.mean) * norm.scale;
      const float g = p.weight ? dy[i] * (p.weight[i] + p.offset) : dy[i];
      dx[i] = norm.scale * (g - g_mean - h * gh_mean);
    }
  });
}

// activation(x) and its derivative.
struct Slope {
  float value, slope;
};

Slope slope_of(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSilu: {
      const float s = 1.0f / (1.0f + std::exp(-x));
      return {x * s, s * (1.0f + x * (1.0f - s))};
    }
    case ActivationKind::kQuickGelu: {
      const float s = 1.0f / (1.0f + std::exp(-1.702f * x));
      return {x * s, s * (1.0f + 1.702f * x * (1.0f - s))};
    }
    case ActivationKind::kRelu:
      return {std::max(x, 0.0f), x > 0 ? 1.0f : 0.0f};
    case ActivationKind::kGelu: {
      const float cdf = 0.5f * (1.0f + std::erf(x * 0.70710678118654752f));
      return {x * cdf, cdf + x * 0.3989422804014327f * std::exp(-0.5f * x * x)};
    }
    case ActivationKind::kGeluTanh: {
      constexpr float kRoot = 0.79788456080286536f, kCube = 0.044715f;
      const float t = std::tanh(kRoot * (x + kCube * x * x * x));
      const float inner = kRoot * (1.0f + 3.0f * kCube * x * x);
      return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner};
    }
    default:
      return {x, 1.0f};
  }
}

}  // namespace

void column_sums(const float* x, int64_t rows, int64_t n, float* out) {
  float* const totals[] = {out};
  sum_over_rows(rows, n, 1, totals, [&](int64_t row, float* sums) {
    for (int64_t i = 0; i < n; ++i) sums[i] += x[row * n + i];
  });
}

void rms_norm_gradient(const NormGradient& task) { norm_gradient(task, false); }
void layer_norm_gradient(const NormGradient& task) { norm_gradient(task, true); }

void activate_gradient(ActivationKind kind, const float* x, const float* up, const float* dy, int64_t n,
                       float* dx, float* dup) {
  parallel_for(n, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Slope s = slope_of(kind, x[i]);
      dx[i] = dy[i] * s.slope * (up ? up[i] : 1.0f);
      if (dup) dup[i] = dy[i] * s.value;
    }
  });
}

void softcap_gradient(const float* x, const float* dy, int64_t n, float cap, float* dx) {
  parallel_for(n, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float t = std::tanh(x[i] / cap);
      dx[i] = dy[i] * (1.0f - t * t);
    }
  });
}

// log_sum_exp() shares a row among threads, so rows come one after another where there are few.
void cross_entropy(const float* x, const int32_t* targets, int64_t tokens, int64_t n, float* out) {
  parallel_for(tokens, tokens < 64 ? tokens : 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      out[t] = targets[t] < 0 ? 0.0f : log_sum_exp(x + t * n, n) - x[t * n + targets[t]];
  });
}

void cross_entropy_gradient(const float* x, const int32_t* targets, const float* dy, int64_t tokens,
                            int64_t n, float* dx) {
  parallel_for(tokens, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* to = dx + t * n;
      if (targets[t] < 0) {
        std::fill(to, to + n, 0.0f);
        continue;
      }
      const float total = log_sum_exp(x + t * n, n);
      for (int64_t i = 0; i < n; ++i) to[i] = dy[t] * std::exp(x[t * n + i] - total);
      to[targets[t]] -= dy[t];
    }
  });
}

void log_softmax(const float* x, int64_t rows, int64_t n, float* out) {
  parallel_for(rows, rows_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float total = log_sum_exp(x + r * n, n);
      for (int64_t i = r * n; i < (r + 1) * n; ++i) out[i] = x[i] - total;
    }
  });
}

void log_softmax_gradient(const float* y, const float* dy, int64_t rows, int64_t n, float* dx) {
  parallel_for(rows, rows_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float total = 0;
      for (int64_t i = r * n; i < (r + 1) * n; ++i) total += dy[i];
      for (int64_t i = r * n; i < (r + 1) * n; ++i) dx[i] = dy[i] - std::exp(y[i]) * total;
    }
  });
}

}  // namespace genkit::kernels

#include "genkit/kernels/steer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

constexpr int64_t kLanes = 16;

double dot(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] += a[i + k] * b[i + k];
  }
  double sum = 0;
  for (; i < n; ++i) sum += double{a[i]} * b[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

float length(const float* x, int64_t n) { return static_cast<float>(std::sqrt(dot(x, x, n))); }

void add(const float* x, const float* v, float a, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] + a * v[i];
}

bool met(const SteerTask& t, const float* x, int64_t n) {
  if (!t.condition) return true;
  const float norm = length(x, n);
  const float cosine = norm > 0 ? static_cast<float>(dot(x, t.condition, n)) / norm : 0.0f;
  return t.below ? cosine < t.threshold : cosine > t.threshold;
}

/// x and out may be the same.
void change(const SteerTask& t, float a, const float* x, int64_t n, float* out) {
  const float before = t.relative || t.kind == SteerKind::kAddKeepNorm ? length(x, n) : 0;
  if (t.relative) a *= before;
  switch (t.kind) {
    case SteerKind::kAdd:
      return add(x, t.direction, a, n, out);
    case SteerKind::kAddKeepNorm: {
      add(x, t.direction, a, n, out);
      const float after = length(out, n);
      if (!(after > 0)) return;
      const float scale = before / after;
      for (int64_t i = 0; i < n; ++i) out[i] *= scale;
      return;
    }
    case SteerKind::kProject: {
      const float along = static_cast<float>(dot(x, t.direction, n));
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] + a * (along * t.direction[i] - x[i]);
      return;
    }
    case SteerKind::kAblate:
      return add(x, t.direction, -a * static_cast<float>(dot(x, t.direction, n)), n, out);
  }
}

void steer_row(const float* x, int64_t row, int64_t n, const SteerTask* tasks, int64_t count, float* out) {
  const float* from = x;
  for (int64_t i = 0; i < count; ++i) {
    const float a = tasks[i].coefficients[row];
    if (a == 0 || !met(tasks[i], from, n)) continue;
    change(tasks[i], a, from, n, out);
    from = out;
  }
  if (from == x && out != x) std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
}

}  // namespace

void steer(const float* x, int64_t rows, int64_t n, const SteerTask* tasks, int64_t count, float* out) {
  // One long row, as of logits, is cut where nothing needs the whole of it.
  const bool plain = std::all_of(tasks, tasks + count, [](const SteerTask& t) {
    return t.kind == SteerKind::kAdd && !t.relative && !t.condition;
  });
  if (rows == 1 && plain && n > 2 * kGrain) {
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      const float* from = x + begin;
      for (int64_t i = 0; i < count; ++i) {
        const float a = tasks[i].coefficients[0];
        if (a == 0) continue;
        add(from, tasks[i].direction + begin, a, end - begin, out + begin);
        from = out + begin;
      }
      if (from == x + begin && out != x)
        std::memcpy(out + begin, x + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
    return;
  }
  parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) steer_row(x + r * n, r, n, tasks, count, out + r * n);
  });
}

}  // namespace genkit::kernels

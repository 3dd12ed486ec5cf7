// Norms, rotations and activations. Sums over a row run in 16 lanes and end in sum(); elements do
// not depend on their place in a vector.

template <class Each>
inline void for_sixteens(int64_t n, Each each) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) each(i, 16);
  if (i < n) each(i, static_cast<int>(n - i));
}
inline V16 load_some(const float* p, int n) { return n == 16 ? load(p) : load_part(p, n); }
inline void store_some(float* p, V16 a, int n) {
  if (n == 16)
    store(p, a);
  else
    store_part(p, a, n);
}

void rms_norm(const float* x, int64_t n, const float* weight, float eps, float offset, float* out) {
  V16 squares = zero();
  for_sixteens(n, [&](int64_t i, int count) {
    const V16 v = load_some(x + i, count);
    squares = fma(v, v, squares);
  });
  const V16 scale = set1(1.0f / __builtin_sqrtf(sum(squares) / float(n) + eps));
  const V16 offsets = set1(offset);
  for_sixteens(n, [&](int64_t i, int count) {
    V16 v = mul(load_some(x + i, count), scale);
    if (weight) v = mul(v, add(load_some(weight + i, count), offsets));
    store_some(out + i, v, count);
  });
}

void layer_norm(const float* x, int64_t n, const float* weight, const float* bias, float eps, float* out) {
  V16 total = zero(), squares = zero();
  for_sixteens(n, [&](int64_t i, int count) { total = add(total, load_some(x + i, count)); });
  const float mean = sum(total) / float(n);
  for_sixteens(n, [&](int64_t i, int count) {
    V16 v = sub(load_some(x + i, count), set1(mean));
    if (count < 16) {
      // Lanes past the end hold 0 - mean; they must not count.
      float lanes[16];
      store(lanes, v);
      v = load_part(lanes, count);
    }
    squares = fma(v, v, squares);
  });
  const V16 scale = set1(1.0f / __builtin_sqrtf(sum(squares) / float(n) + eps));
  for_sixteens(n, [&](int64_t i, int count) {
    V16 v = mul(sub(load_some(x + i, count), set1(mean)), scale);
    if (weight) v = mul(v, load_some(weight + i, count));
    if (bias) v = add(v, load_some(bias + i, count));
    store_some(out + i, v, count);
  });
}

void add_rows(const float* a, const float* b, int64_t n, float* out) {
  for_sixteens(n, [&](int64_t i, int count) {
    store_some(out + i, add(load_some(a + i, count), load_some(b + i, count)), count);
  });
}

void rope(const float* x, int64_t heads, int64_t dim, const float* cosines, const float* sines,
          int64_t half_dims, bool interleaved, float* out) {
  for (int64_t h = 0; h < heads; ++h, x += dim, out += dim) {
    if (interleaved) {
      for (int64_t i = 0; i < half_dims; ++i) {
        const float a = x[2 * i], b = x[2 * i + 1];
        out[2 * i] = a * cosines[i] - b * sines[i];
        out[2 * i + 1] = b * cosines[i] + a * sines[i];
      }
    } else {
      for_sixteens(half_dims, [&](int64_t i, int count) {
        const V16 a = load_some(x + i, count), b = load_some(x + half_dims + i, count);
        const V16 c = load_some(cosines + i, count), s = load_some(sines + i, count);
        store_some(out + i, sub(mul(a, c), mul(b, s)), count);
        store_some(out + half_dims + i, add(mul(b, c), mul(a, s)), count);
      });
    }
    for (int64_t i = 2 * half_dims; i < dim; ++i) out[i] = x[i];
  }
}

inline V16 sigmoid(V16 x) { return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x)))); }

template <ActivationKind kKind>
inline V16 activated(V16 x) {
  const V16 half_x = mul(x, set1(0.5f)), one = set1(1.0f);
  switch (kKind) {
    case ActivationKind::kSilu:
      return div(x, add(one, exp(sub(zero(), x))));
    case ActivationKind::kQuickGelu:
      return mul(x, sigmoid(mul(x, set1(1.702f))));
    case ActivationKind::kRelu:
      return max(zero(), x);
    case ActivationKind::kGelu:
      return mul(half_x, add(one, erf(mul(x, set1(0.70710678118654752f)))));
    case ActivationKind::kGeluTanh: {
      // (1 + tanh u) / 2 = 1 / (1 + e^-2u): half the work, and nothing cancels for negative x.
      const V16 inner = fma(mul(x, x), set1(-0.07135481627260025f), set1(-1.5957691216057308f));
      return div(x, add(one, exp(mul(x, inner))));
    }
    default:
      return x;
  }
}

template <ActivationKind kKind>
inline void activate_as(const float* x, const float* up, int64_t n, float* out) {
  for_sixteens(n, [&](int64_t i, int count) {
    V16 v = activated<kKind>(load_some(x + i, count));
    if (up) v = mul(v, load_some(up + i, count));
    store_some(out + i, v, count);
  });
}

void activate(ActivationKind kind, const float* x, const float* up, int64_t n, float* out) {
  switch (kind) {
    case ActivationKind::kSilu:
      return activate_as<ActivationKind::kSilu>(x, up, n, out);
    case ActivationKind::kGelu:
      return activate_as<ActivationKind::kGelu>(x, up, n, out);
    case ActivationKind::kGeluTanh:
      return activate_as<ActivationKind::kGeluTanh>(x, up, n, out);
    case ActivationKind::kRelu:
      return activate_as<ActivationKind::kRelu>(x, up, n, out);
    case ActivationKind::kQuickGelu:
      return activate_as<ActivationKind::kQuickGelu>(x, up, n, out);
    case ActivationKind::kIdentity:
      return activate_as<ActivationKind::kIdentity>(x, up, n, out);
  }
}

void softcap(const float* x, int64_t n, float cap, float* out) {
  const V16 caps = set1(cap);
  for_sixteens(n, [&](int64_t i, int count) {
    store_some(out + i, mul(tanh(div(load_some(x + i, count), caps)), caps), count);
  });
}

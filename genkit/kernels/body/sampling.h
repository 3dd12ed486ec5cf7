// Over a row of logits, in pieces that the caller fixes.

int64_t argmax(const float* x, int64_t n) {
  // max() returns its second operand for a NaN: those are passed over.
  V16 best = set1(-__builtin_inff());
  for_sixteens(n, [&](int64_t i, int count) {
    if (count == 16) {
      best = max(load(x + i), best);
    } else {
      for (int j = 0; j < count; ++j) best = max(set1(x[i + j]), best);
    }
  });
  const float top = largest(best);
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] == top) return i;
  }
  return 0;  // nothing but NaN
}

/// The largest numbers of every kMaximaStretch: lane by lane, 16 of them, and of all. NaNs are passed over.
/// @return whether every number is below infinity, which no NaN is.
bool maxima(const float* x, int64_t n, float* lanes, float* tops) {
  const V16 infinity = set1(__builtin_inff()), lowest = set1(-__builtin_inff()), one = set1(1.0f);
  V16 odd = zero();
  for (int64_t begin = 0; begin < n; begin += kMaximaStretch) {
    V16 best = lowest;
    if (begin + kMaximaStretch <= n) {
      V16 best2 = lowest, odd2 = zero();
      for (int64_t i = begin; i < begin + kMaximaStretch; i += 32) {
        const V16 a = load(x + i), b = load(x + i + 16);
        best = max(a, best);
        best2 = max(b, best2);
        odd = select_less(a, infinity, odd, one);
        odd2 = select_less(b, infinity, odd2, one);
      }
      best = max(best, best2);
      odd = max(odd, odd2);
    } else {
      for (int64_t i = begin; i < n; i += 16) {
        float some[16];
        store(some, lowest);
        for (int64_t j = i; j < n && j < i + 16; ++j) some[j - i] = x[j];
        const V16 a = load(some);
        best = max(a, best);
        odd = select_less(a, infinity, odd, one);
      }
    }
    store(lanes + begin / kMaximaStretch * 16, best);
    tops[begin / kMaximaStretch] = largest(best);
  }
  return largest(odd) == 0;
}

/// sums[0]: of exp(x - shift), as sum_exp; sums[1]: of exp(x - shift) (shift - x), where what is too far
/// below shift for the first sum adds nothing, minus infinity among it.
void exp_moments(const float* x, int64_t n, float shift, float* sums) {
  V16 total = zero(), weighted = zero();
  const V16 shifts = set1(shift), furthest = set1(100.0f);
  for_sixteens(n, [&](int64_t i, int count) {
    const V16 below = sub(load_some(x + i, count), shifts);
    V16 v = exp(below);
    if (count < 16) {
      float lanes[16];
      store(lanes, v);
      v = load_part(lanes, count);
    }
    total = add(total, v);
    weighted = fma(v, min(sub(zero(), below), furthest), weighted);
  });
  sums[0] = sum(total);
  sums[1] = sum(weighted);
}

/// Adds exp(x - shift) to the bin of its distance from `center`: the nearest whole number to |x - center| *
/// scale, the last bin for all beyond.
void exp_histogram(const float* x, int64_t n, float shift, float center, float scale, float* bins) {
  const V16 shifts = set1(shift), centers = set1(center), scales = set1(scale);
  const V16 last = set1(float(kHistogramBins - 1));
  for_sixteens(n, [&](int64_t i, int count) {
    const V16 v = load_some(x + i, count);
    float masses[16], places[16];
    store(masses, exp(sub(v, shifts)));
    store(places, round(min(mul(abs(sub(v, centers)), scales), last)));
    for (int j = 0; j < count; ++j) bins[int(places[j])] += masses[j];
  });
}

/// Sum of exp(x - shift).
float sum_exp(const float* x, int64_t n, float shift) {
  V16 total = zero();
  const V16 shifts = set1(shift);
  for_sixteens(n, [&](int64_t i, int count) {
    V16 v = exp(sub(load_some(x + i, count), shifts));
    if (count < 16) {
      float lanes[16];
      store(lanes, v);
      v = load_part(lanes, count);
    }
    total = add(total, v);
  });
  return sum(total);
}

/// Indices of numbers above `bound`, in rising order, up to `room` of them. Stops when full.
/// @param from where to begin; holds where to go on afterwards.
int64_t above(const float* x, int64_t n, float bound, int64_t* from, int32_t* indices, int64_t room) {
  int64_t found = 0, i = *from;
  for (; i + 16 <= n && found + 16 <= room; i += 16) {
    const uint32_t mask = greater_mask(load(x + i), set1(bound));
    for (uint32_t left = mask; left != 0; left &= left - 1)
      indices[found++] = static_cast<int32_t>(i + __builtin_ctz(left));
  }
  if (i + 16 > n) {
    for (; i < n && found < room; ++i) {
      if (x[i] > bound) indices[found++] = static_cast<int32_t>(i);
    }
  }
  *from = i;
  return found;
}

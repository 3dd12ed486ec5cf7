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

#include "genkit/generate/hooked_row.h"

#include <algorithm>

namespace genkit::generate {

KvMarks HookedRow::marks(std::span<const int32_t> tokens, int prompt_length) const {
  KvMarks out;
  if (hooks.empty()) return out;
  out.of.assign(tokens.size(), 0);
  const models::RowSpan span = {.length = static_cast<int>(tokens.size()),
                                .row = row,
                                .prompt_length = prompt_length,
                                .tokens = tokens,
                                .has_prefix = has_prefix};
  for (const models::ForwardHook* hook : hooks) out.known = std::min(out.known, hook->mark(span, out.of));
  if (std::all_of(out.of.begin(), out.of.end(), [](models::KvMark mark) { return mark == 0; }))
    out.of.clear();
  return out;
}

uint64_t HookedRow::revision() const {
  uint64_t sum = 0;
  for (const models::ForwardHook* hook : hooks) sum += hook->revision();
  return sum;
}

int common_length(std::span<const int32_t> a, std::span<const models::KvMark> a_marks,
                  std::span<const int32_t> b, std::span<const models::KvMark> b_marks) {
  const size_t tokens =
      static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  const auto mark = [](std::span<const models::KvMark> marks, size_t p) {
    return p < marks.size() ? marks[p] : 0;
  };
  const size_t marked = std::min(tokens, std::max(a_marks.size(), b_marks.size()));
  for (size_t p = 0; p < marked; ++p) {
    if (mark(a_marks, p) != mark(b_marks, p)) return static_cast<int>(p);
  }
  return static_cast<int>(tokens);
}

}  // namespace genkit::generate

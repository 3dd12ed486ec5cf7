#include "genkit/nn/attention.h"

#include "genkit/nn/block_inl.h"
#include "genkit/nn/graph_ops.h"

namespace genkit::nn {

std::vector<int32_t> AttentionContext::wanted_tokens() const {
  std::vector<int32_t> tokens;
  int32_t end = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    end += positions.spans[i].length;
    for (int32_t t = end - wanted[i]; t < end; ++t) tokens.push_back(t);
  }
  return tokens;
}

Positions AttentionContext::wanted_positions() const {
  Positions some;
  std::vector<int32_t> ids;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const RopeSpan& span = positions.spans[i];
    if (wanted[i] == 0) continue;
    const int first = span.position + span.length - wanted[i];
    some.spans.push_back({wanted[i], first, span.rope_length});
    for (int k = 0; k < wanted[i]; ++k) ids.push_back(first + k);
  }
  some.ids = mx::array(ids.begin(), mx::Shape{static_cast<int>(ids.size())}, mx::int32);
  some.batch_length = positions.batch_length;
  return some;
}

mx::array Attention::operator()(const mx::array& x, const AttentionContext& context) const {
  GraphOps ops(context, false);
  return detail::attend(ops, *this, x);
}

}  // namespace genkit::nn

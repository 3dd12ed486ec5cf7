#include "genkit/steering/rebuild.h"

#include <fmt/format.h>
#include <mlx/array.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::steering {
namespace {

constexpr size_t kChunk = 512;  // tokens of a pass, as in generation

}  // namespace

void rebuild_unsteered(const models::Model& model, cache::KvCache& cache, int slot,
                       std::span<const int32_t> tokens, int from, int rope_length) {
  const int held = cache.length(slot);
  if (static_cast<size_t>(held) != tokens.size())
    throw ArgumentError(
        fmt::format("rebuild: slot {} holds {} positions, got {} tokens", slot, held, tokens.size()));
  if (from < 0) throw ArgumentError(fmt::format("rebuild: from: position {} is negative", from));
  if (from >= held) return;
  if (!cache.can_truncate(slot, from))
    throw ArgumentError(
        fmt::format("rebuild: from: slot {} has dropped positions before {} from its window", slot, from));
  cache.truncate(slot, from);
  for (size_t begin = static_cast<size_t>(from); begin < tokens.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, tokens.size() - begin);
    models::ForwardInput input;
    models::RowSpan span;
    span.length = static_cast<int>(count);
    span.slot = slot;
    span.rope_length = rope_length;
    input.rows = {span};
    input.tokens = mlx::core::array(tokens.data() + begin, {span.length}, mlx::core::int32);
    input.logits = models::LogitsFor::kNone;
    model.forward(input, &cache).hidden.eval();
  }
}

}  // namespace genkit::steering

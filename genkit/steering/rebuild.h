#pragma once

#include <cstdint>
#include <span>

#include "genkit/cache/kv_cache.h"
#include "genkit/models/model.h"

namespace genkit::steering {

/// Computes a cached row's keys and values again without hooks, from a position on: for a row that goes
/// on after a steered turn and must not remember the steering. What stands before `from` stays.
/// @param tokens all that the slot holds.
/// @param from   the first position that was steered (@see models::ForwardHook::untouched); beyond the
///               row's end: nothing is done.
/// @param rope_length with which the row was fed, @see models::RowSpan.
/// @throws ArgumentError naming the slot where tokens and cached positions are not as many, or `from`
///         where a sliding layer has dropped what a row cut there needs; nothing is changed then.
void rebuild_unsteered(const models::Model& model, cache::KvCache& cache, int slot,
                       std::span<const int32_t> tokens, int from = 0, int rope_length = 0);

}  // namespace genkit::steering

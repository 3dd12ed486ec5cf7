#pragma once

#include <span>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/generate/drafter.h"
#include "genkit/models/model.h"

namespace genkit::generate {

/// What a session's rows share of a draft model.
struct DraftModel {
  const models::Model& model;
  cache::KvCache cache;
  double cost;  ///< of a token, in units of the model's own
};

/// @param model that the drafts are for.
/// @throws ArgumentError naming `assistant_model`: another vocabulary.
DraftModel make_draft_model(const models::Model& draft, const models::Model& model);

/// Where the draft model has more than `chunk` tokens of prompts to catch up with, runs one pass over that
/// many, so that a caller can end a row between two of them. @return the drafters that are not there yet.
std::vector<Drafter*> catch_up_drafts(DraftModel& draft, std::span<Drafter* const> drafters, int chunk);

/// Completes the drafts of several rows: one pass of the draft model a drafted token, all rows in it, and
/// none of more than `chunk` tokens.
void run_drafts(DraftModel& draft, std::span<Drafter* const> drafters, int chunk);

}  // namespace genkit::generate

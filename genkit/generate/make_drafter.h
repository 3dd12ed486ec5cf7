#pragma once

#include <memory>

#include "genkit/generate/drafter.h"
#include "genkit/generate/row_setup.h"
#include "genkit/logits/chain.h"

namespace genkit::generate {

/// What drafts for a row of this mode, or null. @param setup, chain must outlive it.
std::unique_ptr<Drafter> make_drafter(const RowSetup& setup, const logits::Chain& chain);

/// The longest draft that the mode may come to: what a cache must be able to take back.
int longest_draft(const config::EffectiveConfig& config, bool proposes);

}  // namespace genkit::generate

#pragma once

#include <vector>

#include "cli/guard_flags.h"
#include "cli/model_files.h"
#include "cli/prompts.h"
#include "cli/result_writer.h"
#include "cli/steer_flags.h"

namespace genkit::cli {

/// Runs prompts under a guard, and first without steering where the guard compares with that. Rows are
/// written when all of them are decided: what is drawn again cannot have been shown before.
/// @param request with its hooks; its callbacks are set here.
/// @throws UsageError where nothing steers and the guard compares with what is unsteered.
void run_guarded(const LoadedModel& loaded, generate::GenerationRequest& request,
                 const steering::Guard& guard, const Steering& steering,
                 const std::vector<PromptSource>& sources, ResultWriter& writer);

}  // namespace genkit::cli

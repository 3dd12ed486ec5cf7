#include "cli/guarded_run.h"

#include <algorithm>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/signals.h"

namespace genkit::cli {
namespace {

/// What comes of the steered prompts without steering, one a prompt of `request`; null for the others. Their
/// seeds are not those of the steered rows, so that the same tokens do not come from the same random numbers.
std::vector<std::optional<generate::GeneratedRow>> unsteered_rows(const LoadedModel& loaded,
                                                                  const generate::GenerationRequest& request,
                                                                  const Steering& steering,
                                                                  const std::vector<PromptSource>& sources) {
  generate::GenerationRequest base = request;
  base.hooks.clear();
  base.prompts.clear();
  const auto other_seed = [](const std::optional<uint64_t>& seed) {
    return seed ? std::optional(steering::variant_seed(*seed, 0)) : std::nullopt;
  };
  base.config.seed = other_seed(request.config.seed ? request.config.seed : request.model_defaults.seed);
  std::vector<size_t> which;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!steering.acts_on(sources[i])) continue;
    generate::Prompt prompt = request.prompts[i];
    prompt.row_key = prompt.row_key.value_or(i);
    if (prompt.config) prompt.config->seed = other_seed(prompt.config->seed);
    base.prompts.push_back(std::move(prompt));
    which.push_back(i);
  }
  if (which.empty()) throw UsageError("--avoid-identical: nothing is steered; pass --steer");
  std::vector<generate::GeneratedRow> rows =
      generate::generate(*loaded.model, loaded.tokenizer.get(), base).rows;
  std::vector<std::optional<generate::GeneratedRow>> out(sources.size());
  for (size_t k = 0; k < which.size(); ++k) out[which[k]] = std::move(rows[k]);
  return out;
}

}  // namespace

void run_guarded(const LoadedModel& loaded, generate::GenerationRequest& request,
                 const steering::Guard& guard, const Steering& steering,
                 const std::vector<PromptSource>& sources, ResultWriter& writer) {
  InterruptGuard interrupt;
  request.cancel = interrupt.flag();
  ProgressBar bar("Reading prompt");
  request.on_prefill = [&](size_t done, size_t total) { bar.update(done, total); };
  std::vector<std::optional<generate::GeneratedRow>> unsteered;
  std::vector<const generate::GeneratedRow*> base;
  if (guard.avoids_identical()) {
    guard.check(request);  // before the work
    unsteered = unsteered_rows(loaded, request, steering, sources);
    for (const auto& row : unsteered) base.push_back(row ? &*row : nullptr);
  }
  const steering::GuardedRows rows = guard.run(*loaded.model, loaded.tokenizer.get(), request, base);
  bar.clear();
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    writer.stream({.row = i, .text = rows.rows[i].text, .finished = true});
    writer.set_verdict(rows.verdicts[i], i < base.size() ? base[i] : nullptr);
    writer.add(i, rows.rows[i], rows.timings);
  }
  writer.set_guard(rows.counters);
  writer.set_timings(rows.timings);
}

}  // namespace genkit::cli

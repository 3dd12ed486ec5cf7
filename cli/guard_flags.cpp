#include "cli/guard_flags.h"

#include "cli/command.h"

namespace genkit::cli {

void GuardFlags::add_to(Options& options) {
  CLI::App& app = options.app();
  app.add_flag("--avoid-identical", avoid_identical_,
               "draw a sampled answer that equals the unsteered one once more")
      ->group("Guardrails");
  app.add_flag("--resample-suspect", resample_suspect_,
               "draw a sampled answer with digits or LaTeX in it once more")
      ->group("Guardrails");
  app.add_option("--suspect-pattern", patterns_,
                 "regular expression to suspect instead of digits and LaTeX; repeated")
      ->type_name("REGEX")
      ->group("Guardrails")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

steering::GuardOptions GuardFlags::options() const {
  if (!patterns_.empty() && !resample_suspect_)
    throw UsageError("--suspect-pattern needs --resample-suspect");
  steering::GuardOptions guard{.avoid_identical = avoid_identical_, .suspect_patterns = patterns_};
  if (resample_suspect_ && guard.suspect_patterns.empty())
    guard.suspect_patterns = steering::default_suspect_patterns();
  return guard;
}

}  // namespace genkit::cli

#include "genkit/eval/goldens.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

namespace genkit::cli {

int run_goldens(const std::string& program, std::vector<std::string> args) {
  eval::GoldensOptions goldens;
  std::string dir, weights = "models/gemma-3-270m-q4_k_m.gguf";
  Options options(program,
                  "Runs every case of every recorded set in DIR and compares tokens, texts, logits and "
                  "probabilities with what the reference computed. What is not supported is a failure.",
                  "DIR [OPTIONS]");
  options.app()
      .add_option("DIR", dir, "folder with NAME.json files and models/*/forward.json")
      ->type_name("");
  options.app()
      .add_option(
          "--only", goldens.only,
          "run the files of this name (without .json; 'forward' for models/*/forward.json); may be repeated")
      ->type_name("NAME")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->allow_extra_args(false);
  options.app()
      .add_option("--weights", weights,
                  "GGUF file of the sets made with a real model (default: " + weights + ")")
      ->type_name("FILE");
  options.set_footer(
      wrap(fmt::format("Known sets: {}.", fmt::join(eval::golden_format_names(), ", ")), 0, 0) +
      "\nThe last line is 'N passed, N failed'; the exit code is 1 if any failed.\n");
  if (!options.parse(std::move(args))) return kOk;
  if (dir.empty()) throw UsageError(fmt::format("DIR is missing; see {} --help", program));
  goldens.dir = dir;
  goldens.weights = weights;
  Output out(1);
  OutputStream stream(out);
  const eval::GoldensSummary summary = eval::run_goldens(goldens, stream);
  stream.flush();
  return summary.failed == 0 ? kOk : kFailure;
}

}  // namespace genkit::cli

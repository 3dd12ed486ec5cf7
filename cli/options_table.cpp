#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "genkit/config/options_markdown.h"

namespace genkit::cli {

int run_options(const std::string& program, std::vector<std::string> args) {
  Options options(program, "Prints every generation option as a table in Markdown.", "");
  if (!options.parse(std::move(args))) return kOk;
  Output(1).write(config::options_markdown());
  return kOk;
}

}  // namespace genkit::cli

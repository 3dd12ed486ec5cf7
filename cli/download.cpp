#include <fmt/format.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "genkit/base/error.h"
#include "genkit/io/hub_cache.h"

namespace genkit::cli {

int run_download(const std::string& program, std::vector<std::string> args) {
  std::string name;
  Options options(program, "Prints the folder of a model of the hub that is on this machine.",
                  "OWNER/NAME [OPTIONS]");
  options.app().add_option("NAME", name, "of the model, as the hub spells it: owner/name")->type_name("");
  options.set_footer(
      "Looked for, in this order: ./mlx_cache/OWNER_NAME, and the cache that the hub's\n"
      "own tools keep ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub).\n"
      "Nothing is fetched: this build has no network access of its own.\n");
  if (!options.parse(std::move(args))) return kOk;
  if (name.empty()) throw UsageError(fmt::format("OWNER/NAME is missing; see {} --help", program));
  const auto found = io::find_in_hub_cache(name);
  if (!found) {
    throw IoError(
        fmt::format("{}: not on this machine, and this build does not fetch; put it there with "
                    "'hf download {}' or pass a local path to --model",
                    name, name));
  }
  Output(1).write(found->string() + "\n");
  return kOk;
}

}  // namespace genkit::cli

#include "cli/prompt_cache.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "genkit/generate/prefix_file.h"
#include "genkit/io/atomic_file.h"

namespace genkit::cli {

void PromptCacheFlags::add_to(Options& options) {
  CLI::App& app = options.app();
  app.add_option(
         "--prompt-cache", file_,
         "keys and values that --prompt-cache-save wrote: what the prompts have in common with it is not "
         "computed again")
      ->type_name("FILE")
      ->group("Prompts");
  app.add_flag(
         "--prompt-cache-save", save_,
         "write the prompt and its continuation to the file of --prompt-cache, which need not exist yet")
      ->group("Prompts");
}

std::shared_ptr<generate::PrefixStore> PromptCacheFlags::open(
    const models::Model& model, const generate::GenerationRequest& request) const {
  if (!given()) {
    if (save_) throw UsageError("--prompt-cache-save: name the file with --prompt-cache FILE");
    return nullptr;
  }
  if (!request.hooks.empty()) {
    throw UsageError("--prompt-cache: does not go with steering, which changes what the model computes");
  }
  if (save_ && request.prompts.size() > 1) {
    throw UsageError(
        fmt::format("--prompt-cache-save: a file holds one prompt, not {}", request.prompts.size()));
  }
  for (const generate::Prompt& prompt : request.prompts) {
    const config::EffectiveConfig config =
        config::resolve(request.model_defaults, request.config, prompt.config ? &*prompt.config : nullptr,
                        request.assistant_model != nullptr);
    if (!config.values.use_cache.value_or(true)) {
      throw UsageError("--prompt-cache: has no effect where use_cache is false");
    }
    if (config.values.prompt_logprobs) {
      throw UsageError(
          "--prompt-cache: has no effect with prompt_logprobs, which needs the whole prompt computed");
    }
    if (config.mode == config::GenerationMode::kContrastive) {
      throw UsageError(
          fmt::format("--prompt-cache: has no effect in {} decoding, which looks at the states of "
                      "the whole prompt",
                      to_string(config.mode)));
    }
  }
  auto store = std::make_shared<generate::PrefixStore>(model);
  std::error_code error;
  const bool exists = std::filesystem::exists(file_, error);
  if (exists || !save_) store->put(generate::load_prefix(file_, model));
  // A folder that cannot be written to is better known before the work than after it.
  if (save_) io::AtomicFile probe(file_);
  return store;
}

void PromptCacheFlags::save(const generate::PrefixStore* store) const {
  if (!save_ || store == nullptr || store->newest() == nullptr) return;
  generate::save_prefix(file_, *store->newest(), store->model());
}

}  // namespace genkit::cli

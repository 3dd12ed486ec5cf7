#include "cli/prompt_cache.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "genkit/base/error.h"
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
  if (exists || !save_) {
    generate::KeptPrefix kept = generate::load_prefix(file_, model);
    check_steering(kept, model, request);
    store->put(std::move(kept));
  }
  // A folder that cannot be written to is better known before the work than after it.
  if (save_) io::AtomicFile probe(file_);
  return store;
}

void PromptCacheFlags::check_steering(const generate::KeptPrefix& kept, const models::Model& model,
                                      const generate::GenerationRequest& request) const {
  for (models::ForwardHook* hook : request.hooks) hook->prepare(model);
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    std::vector<int32_t> tokens;
    for (const models::ForwardHook* hook : request.hooks) {
      tokens.resize(tokens.size() + static_cast<size_t>(hook->prefix_tokens(row)), 0);
    }
    const std::vector<int32_t>& ids = request.prompts[i].ids;
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    const generate::HookedRow hooked{request.hooks, row};
    const generate::KvMarks marks = hooked.marks(tokens, static_cast<int>(tokens.size()));
    if (generate::common_length(kept.tokens, {}, tokens, {}) == 0 ||
        generate::common_length(kept.tokens, kept.marks, tokens, marks.of) > 0) {
      continue;  // of no use whatever steers, or of some
    }
    const auto name = [](std::span<const models::KvMark> of) {
      return of.empty() || of[0] == 0 ? std::string("without steering")
                                      : fmt::format("steered as {:016x}", of[0]);
    };
    throw ArgumentError(
        fmt::format("{}: steering: its row was computed {}, prompt {} runs {}: nothing of it can be used; "
                    "name another file",
                    file_, name(kept.marks), i, name(marks.of)));
  }
}

void PromptCacheFlags::refuse_save(const std::string& other) const {
  if (save_) throw UsageError(fmt::format("--prompt-cache-save: does not go with {}", other));
}

void PromptCacheFlags::save(const generate::PrefixStore* store) const {
  if (!save_ || store == nullptr || store->newest() == nullptr) return;
  generate::save_prefix(file_, *store->newest(), store->model());
}

}  // namespace genkit::cli

#include "genkit/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "cli/command.h"
#include "cli/generation_flags.h"
#include "cli/guarded_run.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "cli/progress.h"
#include "cli/prompt_cache.h"
#include "cli/prompts.h"
#include "cli/result_writer.h"
#include "cli/signals.h"
#include "cli/steer_flags.h"
#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/thread_pool.h"

namespace genkit::cli {

namespace {

constexpr int kDefaultNewTokens = 256;

struct GenerateArguments {
  LoadRequest load;
  std::string draft_model;
  GenerationFlags generation;
  SteerFlags steer;
  GuardFlags guard;
  ChatFlags chat;
  PromptCacheFlags prompt_cache;
  std::vector<std::string> prompts, prompt_files, prompt_ids, messages;
  std::string system, template_variables, prompt_format = "auto", output = "text";
  std::string enable_thinking;
  int threads = 0;
  int batch_size = 32;
  bool ignore_eos = false, explain_config = false, timings = false, keep_special = false;
};

void add_prompt_options(Options& options, GenerateArguments& a) {
  CLI::App& app = options.app();
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    app.add_option(name, target, help)
        ->type_name(type)
        ->group("Prompts")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  list("-p,--prompt", a.prompts,
       "text to continue; repeated: a batch; -: standard input, less one final newline", "TEXT");
  list("--prompt-file", a.prompt_files, "prompts of a file, one a line, or JSONL; -: standard input", "FILE");
  list("--prompt-ids", a.prompt_ids, "token ids to continue: 1,2,3", "IDS");
  list("--messages-json", a.messages, "a chat: JSON array of {role, content}; @FILE, or - for standard input",
       "JSON");
  app.add_option("--prompt-format", a.prompt_format, "of --prompt-file: text, jsonl or auto (default)")
      ->type_name("F")
      ->group("Prompts")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}));
  app.add_flag("--no-special", a.chat.no_special, "add no BOS before plain prompts")->group("Prompts");
  app.add_flag("--auto-chat,--assume-user-chat", a.chat.auto_chat,
               "prompts are user messages: fail where the tokenizer has no chat template")
      ->group("Chat");
  app.add_flag(
         "--no-auto-chat", a.chat.no_auto_chat,
         "prompts are plain text even where the tokenizer has a chat template, which is applied otherwise")
      ->group("Chat");
  app.add_option("--system", a.system, "system message before the prompt")->type_name("TEXT")->group("Chat");
  app.add_option("--chat-template", a.chat.chat_template,
                 "name of one of the tokenizer's templates, or @FILE")
      ->type_name("T")
      ->group("Chat");
  app.add_option("--chat-template-vars", a.template_variables,
                 "further variables of the template: a JSON object")
      ->type_name("JSON")
      ->group("Chat");
  app.add_option("--enable-thinking", a.enable_thinking,
                 "true or false: the template's variable of that name")
      ->type_name("B")
      ->group("Chat")
      ->check(CLI::IsMember({"true", "false"}));
}

void add_options(Options& options, GenerateArguments& a) {
  CLI::App& app = options.app();
  const auto positive = CLI::Range(1, 1 << 20);
  app.add_option("-m,--model", a.load.model, "folder, .gguf file or hub name")
      ->type_name("PATH")
      ->group("Model");
  app.add_option("--tokenizer", a.load.tokenizer, "another tokenizer over this model")
      ->type_name("PATH")
      ->group("Model");
  add_arithmetic(app, a.load, "Model");
  app.add_option("--threads", a.threads, "threads to compute with (default: the machine's cores)")
      ->type_name("N")
      ->group("Model")
      ->check(CLI::Range(1, 1024));
  app.add_option(
         "--draft-model", a.draft_model,
         "smaller model of the same vocabulary that goes ahead (assistant_model); see --num-draft-tokens")
      ->type_name("PATH")
      ->group("Model");
  add_prompt_options(options, a);
  a.prompt_cache.add_to(options);
  app.add_option("--output", a.output, "text (default), json, or jsonl: one object a prompt")
      ->type_name("F")
      ->group("Output")
      ->check(CLI::IsMember({"text", "json", "jsonl"}));
  app.add_flag("--keep-special", a.keep_special, "leave special tokens in the text")->group("Output");
  app.add_flag("--timings", a.timings, "tokens per second on standard error (always in JSON)")
      ->group("Output");
  app.add_flag("--explain-config", a.explain_config,
               "print every option in effect and where it comes from, and end")
      ->group("Output");
  app.add_option("--batch-size", a.batch_size, "prompts that run at a time (default: 32)")
      ->type_name("N")
      ->group("Output")
      ->check(positive);
  app.add_flag("--ignore-eos", a.ignore_eos, "no token ends a row")->group("Generation");
  a.generation.add_to(options);
  a.steer.add_to(options);
  a.guard.add_to(options);
  options.set_footer(
      "--stop takes texts separated by commas, with \\n, \\t, \\\\, \\, and \\xHH.\n"
      "Without a limit up to 256 new tokens are generated.\n"
      "Ctrl-C ends with what is there (finish reason 'cancelled'); a second one kills.\n");
}

std::vector<PromptSource> collect_prompts(const GenerateArguments& a) {
  std::vector<PromptSource> prompts;
  for (const std::string& text : a.prompts) {
    PromptSource source;
    source.where = "--prompt";
    source.text = text;
    if (text == "-") {
      source.text = read_all("-");
      if (source.text->ends_with('\n')) source.text->pop_back();
    }
    prompts.push_back(std::move(source));
  }
  for (const std::string& messages : a.messages) {
    PromptSource source;
    source.where = "--messages-json";
    source.messages = read_messages("--messages-json", messages);
    prompts.push_back(std::move(source));
  }
  for (const std::string& ids : a.prompt_ids) {
    PromptSource source;
    source.where = "--prompt-ids";
    source.ids = parse_ids("--prompt-ids", ids);
    prompts.push_back(std::move(source));
  }
  const PromptFormat format = a.prompt_format == "text"    ? PromptFormat::kText
                              : a.prompt_format == "jsonl" ? PromptFormat::kJsonl
                                                           : PromptFormat::kAuto;
  for (const std::string& file : a.prompt_files) {
    for (PromptSource& source : read_prompt_file(file, format)) prompts.push_back(std::move(source));
  }
  return prompts;
}

void complete_chat_flags(const Options& options, GenerateArguments& a) {
  if (a.chat.auto_chat && a.chat.no_auto_chat)
    throw UsageError("--auto-chat and --no-auto-chat exclude each other");
  if (options.given("--system")) a.chat.system = a.system;
  if (a.chat.chat_template.starts_with('@')) a.chat.chat_template = read_all(a.chat.chat_template.substr(1));
  a.chat.variables = nlohmann::ordered_json::object();
  if (!a.template_variables.empty()) {
    const auto strict = parse_json(a.template_variables, "--chat-template-vars");
    const JsonView view(strict, "--chat-template-vars", JsonView::Blame::kCaller);
    if (!view.is_object()) view.fail_expected("an object");
    a.chat.variables = nlohmann::ordered_json::parse(a.template_variables);
  }
  if (!a.enable_thinking.empty()) a.chat.variables["enable_thinking"] = a.enable_thinking == "true";
}

/// @param names of the options that text has no place for: log-probabilities, scores, logits, sequences.
void refuse_in_text(const generate::GenerationConfig& config, const std::array<std::string, 6>& names) {
  const bool given[] = {
      config.top_logprobs.has_value(),      config.output_scores.value_or(false),
      config.output_logits.value_or(false), false,
      config.prompt_logprobs.has_value(),   config.output_transition_scores.value_or(false)};
  for (size_t i = 0; i < std::size(given); ++i) {
    if (!given[i]) continue;
    throw UsageError(
        fmt::format("{}: text output has no place for it; add --output json or jsonl", names[i]));
  }
  if (config.num_return_sequences.value_or(1) > 1) {
    throw UsageError(fmt::format("{}: text output has place for one; add --output json or jsonl", names[3]));
  }
}

/// What the command line says about generating, and what the CLI adds to it.
generate::GenerationConfig request_config(const GenerateArguments& a,
                                          const generate::GenerationConfig& model) {
  generate::GenerationConfig config = a.generation.config();
  if (a.ignore_eos) {
    if (config.eos_token_id) throw UsageError("--ignore-eos and --eos-token-id exclude each other");
    config.eos_token_id.emplace();
  }
  const bool limited = config.max_new_tokens || config.max_length || model.max_new_tokens || model.max_length;
  if (!limited) config.max_new_tokens = kDefaultNewTokens;
  if (a.output == "text") {
    refuse_in_text(config, {"--logprobs", "--output-scores", "--output-logits", "--num-return-sequences",
                            "--prompt-logprobs", "--output-transition-scores"});
    if (!config.num_return_sequences) {
      generate::GenerationConfig of_model;
      of_model.num_return_sequences = model.num_return_sequences;
      refuse_in_text(of_model, {"", "", "", "num_return_sequences", "", ""});
    }
  }
  return config;
}

/// Runs the prompts, as many at a time as the batch size says. Ctrl-C ends them all with what they have.
void run_prompts(const LoadedModel& loaded, generate::GenerationRequest& request, ResultWriter& writer) {
  InterruptGuard interrupt;
  request.cancel = interrupt.flag();
  ProgressBar bar("Reading prompt");
  request.on_prefill = [&](size_t done, size_t total) { bar.update(done, total); };
  request.on_token = [&](const generate::StreamEvent& event) {
    bar.clear();
    writer.stream(event);
    return true;
  };
  request.on_result = [&](size_t index, const generate::GeneratedRow& row, const generate::Timings& so_far) {
    bar.clear();
    writer.add(index, row, so_far);
  };
  writer.set_timings(generate::generate(*loaded.model, loaded.tokenizer.get(), request).timings);
}

}  // namespace

int run_generate(const std::string& program, std::vector<std::string> args) {
  GenerateArguments a;
  Options options(program, "Continues prompts with a language model.", "--model M --prompt TEXT [OPTIONS]");
  add_options(options, a);
  if (!options.parse(std::move(args))) return kOk;
  complete_chat_flags(options, a);
  if (a.load.model.empty()) throw UsageError("--model is missing");
  const std::vector<PromptSource> sources =
      a.explain_config ? std::vector<PromptSource>() : collect_prompts(a);
  if (sources.empty() && !a.explain_config) {
    throw UsageError("nothing to continue: pass --prompt, --prompt-file, --prompt-ids or --messages-json");
  }
  a.generation.config();  // refuses what it can before anything is loaded
  a.steer.specs();
  const steering::Guard guard(a.guard.options());
  if (!guard.empty()) a.prompt_cache.refuse_save("--avoid-identical and --resample-suspect");
  if (a.threads > 0) set_num_threads(a.threads);
  a.load.needs_tokenizer = std::any_of(sources.begin(), sources.end(), [](const auto& s) { return !s.ids; });

  const LoadedModel loaded = load(a.load);
  generate::GenerationRequest request;
  request.model_defaults = generate::GenerationConfig::from_model(loaded.generation_config);
  request.config = request_config(a, request.model_defaults);
  request.skip_special_tokens = !a.keep_special;
  Output out(1);
  if (a.explain_config) {
    out.write(
        config::resolve(request.model_defaults, request.config, nullptr, !a.draft_model.empty()).explain());
    return kOk;
  }
  std::optional<LoadedModel> draft;
  if (!a.draft_model.empty()) {
    draft = load({.model = a.draft_model,
                  .tokenizer = "",
                  .exact = a.load.exact,
                  .int8 = a.load.int8,
                  .needs_tokenizer = false});
    check_draft_tokenizer(*draft, a.draft_model, loaded);
    request.assistant_model = draft->model.get();
  }
  for (const PromptSource& source : sources) {
    if (source.config && a.output == "text") {
      const std::string at = source.where + ": ";
      refuse_in_text(*source.config,
                     {at + "top_logprobs", at + "output_scores", at + "output_logits",
                      at + "num_return_sequences", at + "prompt_logprobs", at + "output_transition_scores"});
    }
    request.prompts.push_back(
        {.ids = to_ids(source, loaded.tokenizer.get(), a.chat), .config = source.config});
  }
  Steering steering(a.steer, *loaded.model);
  ResultWriter writer(out, a.output, sources, loaded.tokenizer.get());
  request.max_rows = static_cast<size_t>(a.batch_size);
  request.hooks = steering.hooks(sources);
  request.prefixes = a.prompt_cache.open(*loaded.model, request);
  if (guard.empty()) {
    run_prompts(loaded, request, writer);
  } else {
    run_guarded(loaded, request, guard, steering, sources, writer);
  }
  a.prompt_cache.save(request.prefixes.get());
  writer.finish(loaded.load_s);
  if (a.timings) Output(2).try_write(writer.timings_line());
  return kOk;
}

}  // namespace genkit::cli

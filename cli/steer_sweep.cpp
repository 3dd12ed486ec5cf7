#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/generation_flags.h"
#include "cli/guard_flags.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "cli/steer.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/base/thread_pool.h"
#include "genkit/io/atomic_file.h"
#include "genkit/steering/persona.h"
#include "genkit/steering/sweep.h"

namespace genkit::cli {

namespace {

struct SweepArguments {
  LoadRequest load;
  GenerationFlags generation;
  VectorFileFlags vectors;
  GuardFlags guard;
  std::string vector, layers, alphas = "-2,-1,0,1,2", unit, mode = "add", positions;
  std::vector<std::string> prompts;
  std::string prompt_file, system, positive_words, negative_words, html, json;
  int threads = 0, batch_size = 32;
  bool any_model = false, no_template = false;
};

void add_options(Options& options, SweepArguments& a) {
  CLI::App& app = options.app();
  const auto text = [&](const char* name, std::string& target, const char* help, const char* type,
                        const char* group) {
    app.add_option(name, target, help)->type_name(type)->group(group);
  };
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type, const char* group) {
    app.add_option(name, target, help)
        ->type_name(type)
        ->group(group)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  text("-m,--model", a.load.model, "folder, .gguf file or hub name", "PATH", "Model");
  text("--tokenizer", a.load.tokenizer, "another tokenizer over this model", "PATH", "Model");
  add_arithmetic(app, a.load, "Model");
  app.add_option("--threads", a.threads, "threads to compute with (default: the machine's cores)")
      ->type_name("N")
      ->group("Model")
      ->check(CLI::Range(1, 1024));
  app.add_option("--batch-size", a.batch_size, "prompts that run at a time (default: 32)")
      ->type_name("N")
      ->group("Model")
      ->check(CLI::Range(1, 1 << 20));
  text("--vector", a.vector, "safetensors or control-vector GGUF", "FILE", "Vectors");
  text("--layers", a.layers,
       "blocks to steer, one at a time: all, or 3,5-9,-1 (default: the one that the file suggests)", "LIST",
       "Vectors");
  text("--alphas", a.alphas, "rising numbers (default: -2,-1,0,1,2)", "LIST", "Vectors");
  text("--steer-unit", a.unit,
       "absolute: alpha times the vector as it is (default of most files); residual, recorded: alpha times "
       "the length of the stream, measured there and then or as the file recorded it",
       "U", "Vectors");
  app.add_option("--steer-mode", a.mode, "add (default), add-keep-norm, project or ablate")
      ->type_name("M")
      ->group("Vectors")
      ->check(CLI::IsMember({"add", "add-keep-norm", "project", "ablate"}));
  text("--steer-positions", a.positions,
       "all (default), prompt, generated, last:K, prompt-last:K or after:ID", "P", "Vectors");
  app.add_flag("--any-model", a.any_model, "use a vector that was made with another model")->group("Vectors");
  a.vectors.add_to(options);
  list("-p,--prompt", a.prompts, "prompt; repeated", "TEXT", "Prompts");
  text("--prompt-file", a.prompt_file, "prompts, one a line", "FILE", "Prompts");
  text("--system", a.system, "the trait as a system prompt: a second baseline", "TEXT", "Prompts");
  app.add_flag("--no-template", a.no_template, "plain text even where the tokenizer has a chat template")
      ->group("Prompts");
  text("--words-positive", a.positive_words, "words of the trait, separated by commas; with the next", "LIST",
       "Scores");
  text("--words-negative", a.negative_words, "words of its opposite", "LIST", "Scores");
  a.guard.add_to(options);
  text("--html", a.html, "page to write", "FILE", "Output");
  text("--json", a.json, "JSON to write; -: standard output", "FILE", "Output");
  a.generation.add_to(options);
  options.set_footer("Answers have up to 32 tokens unless generation options say otherwise.\n");
}

steering::SteerMode steer_mode(const std::string& name) {
  return name == "add-keep-norm" ? steering::SteerMode::kAddKeepNorm
         : name == "project"     ? steering::SteerMode::kProject
         : name == "ablate"      ? steering::SteerMode::kAblate
                                 : steering::SteerMode::kAdd;
}

std::vector<steering::SweepPrompt> read_prompts(const SweepArguments& a, const text::Tokenizer& tokenizer) {
  std::vector<std::string> texts = a.prompts;
  if (!a.prompt_file.empty()) {
    for (std::string& line : read_lines("--prompt-file", a.prompt_file)) texts.push_back(std::move(line));
  }
  std::vector<steering::SweepPrompt> prompts;
  for (const std::string& text : texts) {
    require_utf8("--prompt", text);
    if (text.empty()) throw UsageError("--prompt: the prompt is empty");
    steering::SweepPrompt prompt{.text = text,
                                 .ids = steering::persona_prompt(tokenizer, "", text, !a.no_template)};
    if (!a.system.empty())
      prompt.with_system = steering::persona_prompt(tokenizer, a.system, text, !a.no_template);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

std::vector<int> chosen_layers(const SweepArguments& a, const steering::VectorSet& set, int num_blocks) {
  if (!a.layers.empty()) return parse_layers("--layers", a.layers, num_blocks);
  if (set.suggested_layer) return {*set.suggested_layer};
  throw UsageError(fmt::format("--layers is missing: {} suggests none", set.name));
}

/// What a sweep cannot show is refused rather than dropped.
void check_generation(const generate::GenerationConfig& config) {
  if (config.num_return_sequences.value_or(1) > 1) {
    throw UsageError("--num-return-sequences: a sweep looks at one answer a prompt");
  }
}

void write_file(const std::string& path, const std::string& text) {
  io::AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string table(const steering::SweepResult& r) {
  std::string text = fmt::format("{:<22} {:>10} {:>8} {:>10} {:>7} {:>8} {:>8}\n", "setting", "projection",
                                 "log-odds", "perplexity", "KL", "distinct", "changed");
  const auto row = [&](const std::string& name, const steering::SweepScores& s) {
    const double projection = s.projection.empty() ? 0 : s.projection.begin()->second;
    text += fmt::format("{:<22} {:>10.4g} {:>8} {:>10.4g} {:>7.3f} {:>8.3f} {:>7.0f}%\n", name, projection,
                        s.log_odds ? fmt::format("{:.3f}", *s.log_odds) : "-", s.perplexity, s.kl,
                        s.distinct_2, 100 * s.changed);
  };
  row("no steering", r.base);
  if (r.system) row("trait as system prompt", *r.system);
  for (const auto& cell : r.cells)
    row(fmt::format("block {}, alpha {:g}", cell.layer, cell.alpha), cell.scores);
  return text;
}

}  // namespace

int run_steer_sweep(const std::string& program, std::vector<std::string> args) {
  SweepArguments a;
  Options options(program, "Steers prompts at several layers with several alphas, and reports what it did.",
                  "--model M --vector FILE --prompt-file FILE --html FILE [OPTIONS]");
  add_options(options, a);
  if (!options.parse(std::move(args))) return kOk;
  if (a.load.model.empty()) throw UsageError("--model is missing");
  if (a.vector.empty()) throw UsageError("--vector is missing");
  if (a.prompts.empty() && a.prompt_file.empty())
    throw UsageError("nothing to steer: pass --prompt or --prompt-file");
  if (a.positive_words.empty() != a.negative_words.empty()) {
    throw UsageError("--words-positive and --words-negative need each other");
  }
  steering::SweepOptions how;
  how.alphas = parse_numbers("--alphas", a.alphas);
  if (!a.unit.empty()) how.unit = steering::alpha_unit(a.unit, "--steer-unit");
  how.mode = steer_mode(a.mode);
  if (!a.positions.empty()) how.positions = steering::Positions::parse(a.positions, "--steer-positions");
  how.guard = a.guard.options();
  how.batch = static_cast<size_t>(a.batch_size);
  how.config = a.generation.config();
  check_generation(how.config);
  const steering::VectorSet set = a.vectors.read(a.vector);
  if (a.threads > 0) set_num_threads(a.threads);
  const LoadedModel loaded = load(a.load);
  steering::check_fits(set, *loaded.model, a.any_model, "--any-model");
  how.model_defaults = generate::GenerationConfig::from_model(loaded.generation_config);
  check_generation(how.model_defaults);
  if (!how.config.max_new_tokens && !how.config.max_length) how.config.max_new_tokens = 32;
  how.layers = chosen_layers(a, set, loaded.model->components().num_blocks);
  if (!a.positive_words.empty()) {
    how.words = steering::word_lists(*loaded.tokenizer, parse_strings("--words-positive", a.positive_words),
                                     parse_strings("--words-negative", a.negative_words));
  }
  const InterruptGuard interrupt;
  how.cancel = interrupt.flag();
  ProgressBar bar("Sweeping");
  how.progress = [&](size_t done, size_t all, const std::string& what) {
    bar.update(done, all, what);
    return true;
  };
  steering::SweepResult result =
      steering::run_sweep(*loaded.model, *loaded.tokenizer, set, read_prompts(a, *loaded.tokenizer), how);
  bar.clear();
  result.model = loaded.path.filename().string();
  result.system_prompt = a.system;
  if (!a.html.empty()) write_file(a.html, steering::sweep_page(result));
  if (!a.json.empty() && a.json != "-") write_file(a.json, steering::to_json(result).dump() + "\n");
  Output(1).write(a.json == "-" ? steering::to_json(result).dump() + "\n" : table(result));
  return kOk;
}

}  // namespace genkit::cli

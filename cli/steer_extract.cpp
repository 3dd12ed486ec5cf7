#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/generation_flags.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "cli/prompts.h"
#include "cli/steer.h"
#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/base/thread_pool.h"
#include "genkit/io/atomic_file.h"
#include "genkit/steering/extraction.h"
#include "genkit/steering/persona.h"

namespace genkit::cli {

namespace {

using steering::ContrastSet;
using steering::TokenSequence;

struct ExtractArguments {
  LoadRequest load;
  GenerationFlags generation;
  std::string pairs, positive_file, negative_file, trait, positive_prompt, negative_prompt, questions;
  std::string method = "mean_difference", position, layers = "all", out, answers;
  int folds = 5, batch_tokens = 1024, samples = 1, threads = 0;
  bool normalise = false, no_template = false, json = false;
};

void add_options(Options& options, ExtractArguments& a) {
  CLI::App& app = options.app();
  const auto file = [&](const char* name, std::string& target, const char* help, const char* group) {
    app.add_option(name, target, help)->type_name("FILE")->group(group);
  };
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
  file("--pairs", a.pairs,
       "JSONL: {\"positive\": T, \"negative\": T}, and a common \"prompt\" where they are answers",
       "Texts (one kind)");
  file("--positive-file", a.positive_file, "texts with the trait, one a line; with --negative-file",
       "Texts (one kind)");
  file("--negative-file", a.negative_file, "texts without it; as many lines make pairs", "Texts (one kind)");
  file("--trait", a.trait,
       "JSON: {\"instruction\": [{\"pos\", \"neg\"}], \"questions\": []}: the model answers under both",
       "Texts (one kind)");
  app.add_option("--positive-prompt", a.positive_prompt,
                 "system prompt that asks for the trait; with the next two")
      ->type_name("TEXT")
      ->group("Texts (one kind)");
  app.add_option("--negative-prompt", a.negative_prompt, "its opposite")
      ->type_name("TEXT")
      ->group("Texts (one kind)");
  file("--questions", a.questions, "questions to answer under both, one a line", "Texts (one kind)");
  app.add_option("--method", a.method, "mean_difference (default), pca_diff, pca_center or logistic")
      ->type_name("M")
      ->group("Vectors");
  app.add_option("--position", a.position,
                 "tokens whose states count: last (default), mean (default for answers), or tokens:N,N,... "
                 "of the text or response, negative from its end")
      ->type_name("P")
      ->group("Vectors");
  app.add_option("--layers", a.layers, "blocks, counted from 0: all (default), or 3,5-9,-1")
      ->type_name("LIST")
      ->group("Vectors");
  app.add_flag("--normalise", a.normalise, "directions of length 1")->group("Vectors");
  app.add_option("--folds", a.folds, "of the cross-validation (default: 5)")
      ->type_name("N")
      ->group("Vectors")
      ->check(CLI::Range(2, 1000));
  app.add_option("-o,--out", a.out, "file to write: .safetensors or .gguf")
      ->type_name("FILE")
      ->group("Output");
  file("--answers", a.answers, "write the model's answers there, as JSONL pairs that --pairs reads",
       "Output");
  app.add_flag("--json", a.json, "what was measured at each block, as JSON")->group("Output");
  app.add_option("--samples", a.samples, "answers to every question under every instruction (default: 1)")
      ->type_name("N")
      ->group("Answers")
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag("--no-template", a.no_template, "plain text even where the tokenizer has a chat template")
      ->group("Answers");
  app.add_option("--batch-tokens", a.batch_tokens, "tokens of a pass, of several texts (default: 1024)")
      ->type_name("N")
      ->group("Model")
      ->check(CLI::Range(1, 1 << 20));
  a.generation.add_to(options);
  options.set_footer(
      "Generation options are for --trait and --positive-prompt, where answers have up\n"
      "to 128 tokens unless they say otherwise. The direction of block N was measured\n"
      "at, and belongs at, the output of block N, counted from 0.\n");
}

/// Which kind of texts was given. @throws UsageError unless it is one.
enum class Source { kPairs, kFiles, kTrait };
Source source_of(const Options& options) {
  const bool pairs = options.given("--pairs"), trait = options.given("--trait");
  const bool files = options.given("--positive-file") || options.given("--negative-file");
  const bool prompts = options.given("--positive-prompt") || options.given("--negative-prompt") ||
                       options.given("--questions");
  if (pairs + files + trait + prompts == 0) {
    throw UsageError(
        "no texts: pass --pairs, --positive-file and --negative-file, --trait, or --positive-prompt, "
        "--negative-prompt and --questions");
  }
  if (pairs + files + trait + prompts > 1) {
    throw UsageError("--pairs, --positive-file, --trait and --positive-prompt exclude each other");
  }
  const auto need = [&](const char* name) {
    if (!options.given(name)) throw UsageError(fmt::format("{} is missing", name));
  };
  if (files) {
    need("--positive-file");
    need("--negative-file");
  }
  if (prompts) {
    need("--positive-prompt");
    need("--negative-prompt");
    need("--questions");
  }
  return pairs ? Source::kPairs : files ? Source::kFiles : Source::kTrait;
}

/// A text after a prompt: the response is what is looked at.
TokenSequence response_sequence(const text::Tokenizer& tokenizer, const std::string& prompt,
                                const std::string& response, bool use_template, const std::string& where) {
  require_utf8(where, response);
  TokenSequence sequence{
      .ids = steering::persona_prompt(tokenizer, "", prompt, use_template), .begin = 0, .where = where};
  sequence.begin = static_cast<int>(sequence.ids.size());
  const auto answer = tokenizer.encode(response, false);
  sequence.ids.insert(sequence.ids.end(), answer.begin(), answer.end());
  if (answer.empty()) throw UsageError(fmt::format("{}: the text is empty", where));
  return sequence;
}

ContrastSet read_pairs(const ExtractArguments& a, const text::Tokenizer& tokenizer, bool* has_prompts) {
  ContrastSet texts{.positive = {}, .negative = {}, .paired = true};
  const auto lines = read_lines("--pairs", a.pairs);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find_first_not_of(" \t") == std::string::npos) continue;
    const std::string where = fmt::format("{}: line {}", a.pairs, i + 1);
    const auto json = parse_json(lines[i], where);
    const JsonView view(json, where, JsonView::Blame::kCaller);
    if (!view.is_object()) view.fail_expected("an object");
    view.refuse_unknown_keys({"positive", "negative", "prompt"});
    const auto prompt = view.find("prompt");
    *has_prompts = *has_prompts || prompt.has_value();
    for (const auto& [key, side] :
         {std::pair{"positive", &texts.positive}, std::pair{"negative", &texts.negative}}) {
      const std::string text = view.at(key).string(), at = fmt::format("{}: {}", where, key);
      if (text.empty()) throw UsageError(fmt::format("{}: the text is empty", at));
      side->push_back(prompt ? response_sequence(tokenizer, prompt->string(), text, !a.no_template, at)
                             : text_sequence(tokenizer, text, at));
    }
  }
  return texts;
}

ContrastSet read_files(const ExtractArguments& a, const text::Tokenizer& tokenizer) {
  ContrastSet texts;
  for (const auto& [path, side] :
       {std::pair{&a.positive_file, &texts.positive}, std::pair{&a.negative_file, &texts.negative}}) {
    const auto lines = read_lines("--positive-file, --negative-file", *path);
    for (size_t i = 0; i < lines.size(); ++i) {
      const std::string where = fmt::format("{}: line {}", *path, i + 1);
      if (lines[i].empty()) throw UsageError(fmt::format("{}: the text is empty", where));
      side->push_back(text_sequence(tokenizer, lines[i], where));
    }
  }
  texts.paired = texts.positive.size() == texts.negative.size();
  return texts;
}

ContrastSet answer(const ExtractArguments& a, const LoadedModel& loaded, const InterruptGuard& interrupt) {
  steering::Trait trait;
  if (!a.trait.empty()) {
    trait = steering::read_trait(a.trait);
  } else {
    trait.instructions = {{a.positive_prompt, a.negative_prompt}};
    trait.questions = read_lines("--questions", a.questions);
  }
  steering::AnswerOptions options;
  options.config = a.generation.config();
  options.model_defaults = generate::GenerationConfig::from_model(loaded.generation_config);
  const bool limited = options.config.max_new_tokens || options.config.max_length ||
                       options.model_defaults.max_new_tokens || options.model_defaults.max_length;
  if (!limited) options.config.max_new_tokens = 128;
  options.samples = a.samples;
  options.use_template = !a.no_template;
  ProgressBar bar("Answering");
  options.progress = [&](size_t done, size_t all) {
    bar.update(done, all);
    return !interrupt.requested();
  };
  steering::TraitAnswers answers = steering::answer_trait(*loaded.model, *loaded.tokenizer, trait, options);
  bar.clear();
  if (answers.dropped > 0) {
    Output(2).try_write(
        fmt::format("mlxgk: note: {} of {} pairs left out, since one of their answers is empty\n",
                    answers.dropped, answers.dropped + answers.answers.size()));
  }
  if (!a.answers.empty()) {
    io::AtomicFile file(a.answers);
    for (const auto& [with, without] : answers.answers) {
      const nlohmann::ordered_json line = {{"positive", with}, {"negative", without}};
      file.write(line.dump() + "\n");
    }
    file.commit();
  }
  return std::move(answers.texts);
}

nlohmann::ordered_json report(const steering::VectorSet& set, size_t positives, size_t negatives) {
  nlohmann::ordered_json out = {{"method", set.method},
                                {"position", set.position},
                                {"model_hash", set.model_hash},
                                {"positives", positives},
                                {"negatives", negatives}};
  out["suggested_layer"] =
      set.suggested_layer ? nlohmann::ordered_json(*set.suggested_layer) : nlohmann::ordered_json(nullptr);
  out["layers"] = nlohmann::ordered_json::array();
  for (const auto& [block, direction] : set.directions) {
    double square = 0;
    for (const float x : direction) square += static_cast<double>(x) * x;
    const steering::LayerReport& r = set.layers.at(block);
    nlohmann::ordered_json layer = {{"layer", block},
                                    {"vector_norm", std::sqrt(square)},
                                    {"residual_norm", *r.residual_norm},
                                    {"explained_variance", *r.explained_variance}};
    layer["auc"] = r.auc ? nlohmann::ordered_json(*r.auc) : nlohmann::ordered_json(nullptr);
    layer["separation"] =
        r.separation ? nlohmann::ordered_json(*r.separation) : nlohmann::ordered_json(nullptr);
    out["layers"].push_back(std::move(layer));
  }
  return out;
}

}  // namespace

int run_steer_extract(const std::string& program, std::vector<std::string> args) {
  ExtractArguments a;
  Options options(program, "Makes steering vectors from texts with and without a trait.",
                  "--model M --out FILE --pairs FILE [OPTIONS]");
  add_options(options, a);
  if (!options.parse(std::move(args))) return kOk;
  if (a.load.model.empty()) throw UsageError("--model is missing");
  if (a.out.empty()) throw UsageError("--out is missing");
  const Source source = source_of(options);
  if (source != Source::kTrait) {
    for (const char* name : {"--samples", "--answers"}) {
      if (options.given(name))
        throw UsageError(
            fmt::format("{}: only where the model answers: with --trait or --positive-prompt", name));
    }
    if (a.generation.given())
      throw UsageError(
          "generation options are for --trait and --positive-prompt; these texts are there already");
  }
  steering::ExtractOptions how;
  how.method = steering::parse_method(a.method, "--method");
  if (options.given("--position")) how.position = steering::TokenChoice::parse(a.position, "--position");
  how.normalise = a.normalise;
  how.folds = a.folds;
  how.tokens_per_pass = a.batch_tokens;
  if (a.threads > 0) set_num_threads(a.threads);
  const LoadedModel loaded = load(a.load);
  how.blocks = parse_layers("--layers", a.layers, loaded.model->components().num_blocks);
  const InterruptGuard interrupt;
  bool has_prompts = source == Source::kTrait;
  const ContrastSet texts = source == Source::kPairs   ? read_pairs(a, *loaded.tokenizer, &has_prompts)
                            : source == Source::kFiles ? read_files(a, *loaded.tokenizer)
                                                       : answer(a, loaded, interrupt);
  if (!options.given("--position") && has_prompts) how.position.kind = steering::TokenChoice::Kind::kMean;
  ProgressBar bar("Reading texts");
  how.progress = [&](size_t done, size_t all) {
    bar.update(done, all);
    return !interrupt.requested();
  };
  const steering::VectorSet set = steering::extract_vectors(*loaded.model, texts, how);
  bar.clear();
  const std::vector<int> left_out = steering::write_vectors(a.out, set);
  if (!left_out.empty()) {
    Output(2).try_write(
        fmt::format("mlxgk: note: {}: GGUF files have no place for block {}, which is left out\n", a.out,
                    left_out.front()));
  }
  Output out(1);
  out.write(a.json ? report(set, texts.positive.size(), texts.negative.size()).dump() + "\n" : describe(set));
  return kOk;
}

}  // namespace genkit::cli

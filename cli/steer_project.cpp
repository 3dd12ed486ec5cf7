#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "cli/prompts.h"
#include "cli/steer.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/base/thread_pool.h"
#include "genkit/steering/scores.h"
#include "genkit/text/chat_template.h"

namespace genkit::cli {

namespace {

using steering::TokenSequence;
using Json = nlohmann::ordered_json;

struct ProjectArguments {
  LoadRequest load;
  VectorFileFlags vectors;
  std::string vector, messages, output = "text";
  std::vector<std::string> texts, files;
  std::string layer;
  int threads = 0;
  bool per_token = false, any_model = false;
};

/// A stretch of tokens that is scored as one: a text, or a message of a conversation.
struct Part {
  std::string name;
  size_t sequence = 0;
  int begin = 0, end = 0;  ///< tokens
};

struct Job {
  std::vector<TokenSequence> sequences;
  std::vector<Part> parts;
};

void add_options(Options& options, ProjectArguments& a) {
  CLI::App& app = options.app();
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    app.add_option(name, target, help)
        ->type_name(type)
        ->group("Texts")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
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
  app.add_option("--vector", a.vector, "safetensors or control-vector GGUF")
      ->type_name("FILE")
      ->group("Vectors");
  app.add_option("--layer", a.layer,
                 "block, from 0, or from the end (-1: the last); default: the one that the file suggests")
      ->type_name("N")
      ->group("Vectors");
  app.add_flag("--any-model", a.any_model, "use a vector that was made with another model")->group("Vectors");
  a.vectors.add_to(options);
  list("--text", a.texts, "text to score; repeated", "TEXT");
  list("--text-file", a.files, "texts to score, one a line; -: standard input", "FILE");
  app.add_option("--messages-json", a.messages,
                 "a chat to score message by message: JSON array; @FILE, or - for standard input")
      ->type_name("JSON")
      ->group("Texts");
  app.add_flag("--per-token", a.per_token, "every token's figures too (JSON always has them)")
      ->group("Output");
  app.add_option("--output", a.output, "text (default) or json")
      ->type_name("F")
      ->group("Output")
      ->check(CLI::IsMember({"text", "json"}));
  options.set_footer(
      "Figures are of the block's output x and the direction u of length 1: projection,\n"
      "x.u, in the stream's units, and cosine, x.u / |x|; of a text their means, without\n"
      "the special tokens that it begins with.\n");
}

void add_text(Job* job, const text::Tokenizer& tokenizer, const std::string& text, const std::string& where) {
  if (text.empty()) throw UsageError(fmt::format("{}: the text is empty", where));
  TokenSequence sequence = text_sequence(tokenizer, text, where);
  job->parts.push_back({where, job->sequences.size(), sequence.begin, static_cast<int>(sequence.ids.size())});
  job->sequences.push_back(std::move(sequence));
}

size_t code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// The conversation as one sequence, its messages as parts: each from where the conversation before it
/// ends to where it ends with it, as the template writes both.
void add_messages(Job* job, const text::Tokenizer& tokenizer, const Json& messages) {
  if (!messages.is_array() || messages.empty())
    throw UsageError("--messages-json: expected an array of messages");
  text::ChatOptions options;
  options.add_generation_prompt = false;
  const std::string whole = text::apply_chat_template(tokenizer, messages, options).text;
  const auto [ids, offsets] = tokenizer.encode_with_offsets(whole, false);
  job->sequences.push_back({.ids = ids, .begin = 0, .where = "--messages-json"});
  int token = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json before(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(i + 1));
    const std::string text =
        i + 1 == messages.size() ? whole : text::apply_chat_template(tokenizer, before, options).text;
    // Some templates write a message otherwise once others follow; then there is no place where it ends.
    if (!whole.starts_with(text)) {
      throw ArgumentError(fmt::format(
          "--messages-json: the chat template writes message {} otherwise when others follow", i + 1));
    }
    const size_t end = code_points(text);
    Part part{.name = fmt::format("message {} ({})", i + 1, messages[i].value("role", "")),
              .sequence = job->sequences.size() - 1,
              .begin = token,
              .end = token};
    while (static_cast<size_t>(part.end) < ids.size() &&
           static_cast<size_t>(offsets[static_cast<size_t>(part.end)].second) <= end) {
      ++part.end;
    }
    token = part.end;
    job->parts.push_back(part);
  }
}

Job collect(const ProjectArguments& a, const text::Tokenizer& tokenizer) {
  Job job;
  for (size_t i = 0; i < a.texts.size(); ++i) {
    add_text(&job, tokenizer, a.texts[i], a.texts.size() == 1 ? "--text" : fmt::format("--text {}", i + 1));
  }
  for (const std::string& file : a.files) {
    const auto lines = read_lines("--text-file", file);
    for (size_t i = 0; i < lines.size(); ++i)
      add_text(&job, tokenizer, lines[i], fmt::format("{}: line {}", file, i + 1));
  }
  if (!a.messages.empty()) add_messages(&job, tokenizer, read_messages("--messages-json", a.messages));
  return job;
}

double mean(const std::vector<float>& values, const Part& part) {
  double sum = 0;
  for (int i = part.begin; i < part.end; ++i) sum += values[static_cast<size_t>(i)];
  return part.end > part.begin ? sum / (part.end - part.begin) : std::nan("");
}

std::string token_text(const text::Tokenizer& tokenizer, int32_t id) {
  return printable(tokenizer.token_bytes(id), 24);
}

Json number(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

void write_json(Output& out, const Job& job, const std::vector<steering::Projection>& scores,
                const text::Tokenizer& tokenizer, int layer) {
  Json result = {{"layer", layer}, {"texts", Json::array()}};
  for (const Part& part : job.parts) {
    const steering::Projection& p = scores[part.sequence];
    Json entry = {{"name", part.name},
                  {"projection", number(mean(p.tokens, part))},
                  {"cosine", number(mean(p.cosines, part))}};
    entry["tokens"] = Json::array();
    for (int i = part.begin; i < part.end; ++i) {
      const auto t = static_cast<size_t>(i);
      const int32_t id = job.sequences[part.sequence].ids[t];
      entry["tokens"].push_back({{"id", id},
                                 {"token", token_text(tokenizer, id)},
                                 {"projection", p.tokens[t]},
                                 {"cosine", p.cosines[t]}});
    }
    result["texts"].push_back(std::move(entry));
  }
  out.write(result.dump() + "\n");
}

void write_text(Output& out, const Job& job, const std::vector<steering::Projection>& scores,
                const text::Tokenizer& tokenizer, bool per_token) {
  std::string text = fmt::format("{:>12}  {:>7}\n", "projection", "cosine");
  for (const Part& part : job.parts) {
    const steering::Projection& p = scores[part.sequence];
    text += fmt::format("{:>12.4f}  {:>7.4f}  {}\n", mean(p.tokens, part), mean(p.cosines, part), part.name);
    for (int i = part.begin; per_token && i < part.end; ++i) {
      const auto t = static_cast<size_t>(i);
      text += fmt::format("{:>12.4f}  {:>7.4f}    {}\n", p.tokens[t], p.cosines[t],
                          token_text(tokenizer, job.sequences[part.sequence].ids[t]));
    }
  }
  out.write(text);
}

/// @throws UsageError where neither the option nor the file says which.
int chosen_layer(const ProjectArguments& a, const steering::VectorSet& set, int num_blocks) {
  if (!a.layer.empty()) {
    const std::vector<int> layers = parse_layers("--layer", a.layer, num_blocks);
    if (layers.size() != 1)
      throw UsageError(fmt::format("--layer: expected one block, got \"{}\"", printable(a.layer)));
    return layers.front();
  }
  if (set.suggested_layer) return *set.suggested_layer;
  if (!set.any_block && set.directions.size() == 1) return set.directions.begin()->first;
  throw UsageError(fmt::format("--layer is missing: {} suggests none", set.name));
}

}  // namespace

int run_steer_project(const std::string& program, std::vector<std::string> args) {
  ProjectArguments a;
  Options options(program, "Scores texts or a conversation along a steering vector.",
                  "--model M --vector FILE --text TEXT [OPTIONS]");
  add_options(options, a);
  if (!options.parse(std::move(args))) return kOk;
  if (a.load.model.empty()) throw UsageError("--model is missing");
  if (a.vector.empty()) throw UsageError("--vector is missing");
  if (a.texts.empty() && a.files.empty() && a.messages.empty()) {
    throw UsageError("nothing to score: pass --text, --text-file or --messages-json");
  }
  const steering::VectorSet set = a.vectors.read(a.vector);
  if (a.threads > 0) set_num_threads(a.threads);
  const LoadedModel loaded = load(a.load);
  steering::check_fits(set, *loaded.model, a.any_model, "--any-model");
  const int layer = chosen_layer(a, set, loaded.model->components().num_blocks);
  const Job job = collect(a, *loaded.tokenizer);
  const InterruptGuard interrupt;
  ProgressBar bar("Reading texts");
  steering::VisitOptions visit;
  visit.progress = [&](size_t done, size_t all) {
    bar.update(done, all);
    return !interrupt.requested();
  };
  const auto scores = steering::project(*loaded.model, job.sequences, layer, set.at(layer), visit);
  bar.clear();
  Output out(1);
  if (a.output == "json") {
    write_json(out, job, scores, *loaded.tokenizer, layer);
  } else {
    write_text(out, job, scores, *loaded.tokenizer, a.per_token);
  }
  return kOk;
}

}  // namespace genkit::cli

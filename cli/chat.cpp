#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "cli/command.h"
#include "cli/generation_flags.h"
#include "cli/line_reader.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "cli/progress.h"
#include "cli/prompts.h"
#include "cli/result_writer.h"
#include "cli/signals.h"
#include "cli/steer_flags.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/base/thread_pool.h"
#include "genkit/generate/generate.h"
#include "genkit/generate/prefix_store.h"
#include "genkit/io/atomic_file.h"

namespace genkit::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr int kDefaultNewTokens = 1024;

/// A conversation with a model: what was said, and how the next answer is made.
class Conversation {
 public:
  Conversation(LoadedModel loaded, generate::GenerationRequest request, ChatFlags flags, Output& out)
      : loaded_(std::move(loaded)), request_(std::move(request)), flags_(std::move(flags)), out_(out) {
    // A turn begins with all that was said before: only what is new is computed. Where windows slide,
    // the ends of the last prompts are kept too, for answers that are read back as other tokens.
    if (request_.config.use_cache.value_or(true)) {
      request_.prefixes =
          std::make_shared<generate::PrefixStore>(*loaded_.model, generate::PrefixLimits{.max_prefixes = 4});
    }
  }
  void show_timings() { timings_ = true; }

  void set_system(std::string text) { flags_.system = std::move(text); }
  void clear_system() { flags_.system.reset(); }
  void reset() { messages_ = Json::array(); }

  void save(const std::string& path) const {
    Json all = Json::array();
    if (flags_.system) all.push_back({{"role", "system"}, {"content", *flags_.system}});
    for (const Json& message : messages_) all.push_back(message);
    io::AtomicFile file(path);
    file.write(all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    file.commit();
  }

  /// Streams the answer. What Ctrl-C cuts short stays in the conversation as far as it came; after
  /// an error the conversation is as it was.
  void say(const std::string& text, InterruptGuard& interrupt) {
    require_utf8("message", text);
    messages_.push_back({{"role", "user"}, {"content", text}});
    try {
      PromptSource source;
      source.messages = messages_;
      source.where = "chat";
      request_.prompts = {{.ids = to_ids(source, loaded_.tokenizer.get(), flags_)}};
      request_.cancel = interrupt.flag();
      ProgressBar bar("Reading");
      request_.on_prefill = [&](size_t done, size_t total) { bar.update(done, total); };
      request_.on_token = [&](const generate::StreamEvent& event) {
        bar.clear();
        out_.write(event.text);
        return true;
      };
      const auto result = generate::generate(*loaded_.model, loaded_.tokenizer.get(), request_);
      bar.clear();
      last_ = result.timings;
      messages_.push_back({{"role", "assistant"}, {"content", result.rows.at(0).text}});
    } catch (...) {
      messages_.erase(messages_.size() - 1);
      throw;
    }
    out_.write("\n");
    if (timings_) Output(2).try_write(timings_line(last_));
  }

 private:
  LoadedModel loaded_;
  generate::GenerationRequest request_;
  ChatFlags flags_;
  Output& out_;
  Json messages_ = Json::array();
  bool timings_ = false;
  generate::Timings last_;
};

constexpr const char* kHelp =
    "/system TEXT  set the system message (without TEXT: none) and start anew\n"
    "/reset        forget the conversation\n"
    "/save FILE    write the conversation as JSON messages\n"
    "/help         this text\n"
    "/quit         end; so does Ctrl-D\n"
    "Ctrl-C stops an answer. A message that starts with / is written with //.\n";

/// @return false for /quit.
bool run_command(const std::string& line, Conversation& conversation, Output& out) {
  static constexpr std::array<std::string_view, 6> kNames = {"/system", "/reset", "/save",
                                                             "/help",   "/quit",  "/exit"};
  const size_t blank = std::min(line.find(' '), line.size());
  const std::string name = line.substr(0, blank);
  const std::string rest = blank < line.size() ? line.substr(blank + 1) : "";
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/help") {
    out.write(kHelp);
  } else if (name == "/reset") {
    conversation.reset();
  } else if (name == "/system") {
    require_utf8("/system", rest);
    rest.empty() ? conversation.clear_system() : conversation.set_system(rest);
    conversation.reset();
  } else if (name == "/save") {
    if (rest.empty()) throw UsageError("/save: expected the name of a file");
    conversation.save(rest);
  } else {
    throw UsageError(
        fmt::format("there is no command {}{}; see /help", printable(name), suggestion(name, kNames)));
  }
  return true;
}

/// A terminal goes on after an error; a script's input does not.
void run_loop(Conversation& conversation, Output& out) {
  const bool interactive = ::isatty(0) == 1;
  const bool prompting = interactive && out.is_terminal();
  InterruptGuard interrupt;
  LineReader reader(interrupt.descriptor());
  if (prompting) out.write("/help lists the commands, Ctrl-D ends.\n");
  for (;;) {
    if (prompting) out.write("> ");
    const LineReader::Result input = reader.read();
    interrupt.reset();
    if (input.status == LineReader::Status::kEnd) {
      if (prompting) out.write("\n");
      return;
    }
    if (input.status == LineReader::Status::kInterrupted) {
      if (prompting) out.write("\n");
      continue;
    }
    try {
      if (input.line.empty()) continue;
      if (input.line[0] == '/' && !input.line.starts_with("//")) {
        if (!run_command(input.line, conversation, out)) return;
      } else {
        conversation.say(input.line.starts_with("//") ? input.line.substr(1) : input.line, interrupt);
      }
    } catch (const ReaderLeft&) {
      throw;
    } catch (const std::exception& e) {
      if (!interactive) throw;
      Output(2).try_write(fmt::format("mlxgk: error: {}\n", e.what()));
    }
    interrupt.reset();
  }
}

}  // namespace

int run_chat(const std::string& program, std::vector<std::string> args) {
  LoadRequest request;
  GenerationFlags generation;
  ChatFlags chat;
  std::string system;
  int threads = 0;
  bool timings = false;
  Options options(program, "A conversation over the model's chat template, a line a message.",
                  "--model M [OPTIONS]");
  CLI::App& app = options.app();
  app.add_option("-m,--model", request.model, "folder, .gguf file or hub name")
      ->type_name("PATH")
      ->group("Model");
  app.add_option("--tokenizer", request.tokenizer, "another tokenizer over this model")
      ->type_name("PATH")
      ->group("Model");
  add_arithmetic(app, request, "Model");
  app.add_option("--threads", threads, "threads to compute with (default: the machine's cores)")
      ->type_name("N")
      ->group("Model")
      ->check(CLI::Range(1, 1024));
  app.add_option("--system", system, "system message")->type_name("TEXT")->group("Chat");
  app.add_option("--chat-template", chat.chat_template, "name of one of the tokenizer's templates, or @FILE")
      ->type_name("T")
      ->group("Chat");
  app.add_flag("--timings", timings, "tokens per second after each answer, on standard error")
      ->group("Output");
  generation.add_to(options);
  SteerFlags steer;
  steer.add_to(options);
  options.set_footer(std::string("In the conversation:\n") + kHelp);
  if (!options.parse(std::move(args))) return kOk;
  if (options.given("--system")) chat.system = system;
  if (chat.chat_template.starts_with('@')) chat.chat_template = read_all(chat.chat_template.substr(1));
  generate::GenerationRequest generating;
  generating.config = generation.config();
  steer.specs();  // refuses what it can before anything is loaded
  if (threads > 0) set_num_threads(threads);

  LoadedModel loaded = load(request);
  if (loaded.tokenizer->chat_template().empty() && chat.chat_template.empty()) {
    throw ArgumentError(
        fmt::format("{}: the tokenizer has no chat template; pass one by --chat-template @FILE, or "
                    "continue plain text with mlxgk generate",
                    loaded.path.string()));
  }
  chat.auto_chat = true;
  generating.model_defaults = generate::GenerationConfig::from_model(loaded.generation_config);
  const auto& sequences = generating.config.num_return_sequences
                              ? generating.config.num_return_sequences
                              : generating.model_defaults.num_return_sequences;
  if (sequences.value_or(1) > 1) {
    throw UsageError("--num-return-sequences: a conversation goes on with one answer");
  }
  if (!generating.config.max_new_tokens && !generating.config.max_length)
    generating.config.max_new_tokens = kDefaultNewTokens;
  // Every turn is row 0 of its own run.
  Steering steering(steer, *loaded.model);
  generating.hooks = steering.hooks(std::vector<PromptSource>(1));
  Output out(1);
  Conversation conversation(std::move(loaded), std::move(generating), std::move(chat), out);
  if (timings) conversation.show_timings();
  run_loop(conversation, out);
  return kOk;
}

}  // namespace genkit::cli

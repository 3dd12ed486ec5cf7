#include "cli/prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "cli/command.h"
#include "cli/parse_values.h"
#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/text/chat_template.h"

namespace genkit::cli {

namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; }

/// Blank lines between objects do not count against a file of them.
bool is_prompt_object(const std::string& line) {
  if (is_blank(line)) return true;
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  return json.is_object() &&
         (json.contains("prompt") || json.contains("messages") || json.contains("prompt_ids"));
}

PromptSource parse_line(const std::string& line, const std::string& where) {
  const auto strict = parse_json(line, where);  // duplicate keys, depth
  const JsonView view(strict, where, JsonView::Blame::kCaller);
  if (!view.is_object()) view.fail_expected("an object");
  PromptSource source;
  source.where = where;
  auto options = strict;
  int prompts = 0;
  if (const auto text = view.find("prompt")) {
    source.text = text->string();
    ++prompts;
  }
  if (view.find("messages")) {
    source.messages = Json::parse(line).at("messages");
    ++prompts;
  }
  if (const auto ids = view.find("prompt_ids")) {
    source.ids = ids->integers<int32_t>(0);
    ++prompts;
  }
  if (prompts != 1) view.fail("expected exactly one of `prompt`, `messages` and `prompt_ids`");
  if (const auto steer = view.find("steer")) {
    source.steer = steering::SteerSpec::from_json(*steer);
    for (steering::SteerSpec& spec : *source.steer) spec.where = fmt::format("{}: {}", where, spec.where);
  }
  for (const char* key : {"prompt", "messages", "prompt_ids", "steer"}) options.erase(key);
  if (!options.empty()) source.config = generate::GenerationConfig::from_caller(options, where);
  return source;
}

}  // namespace

std::vector<PromptSource> read_prompt_file(const std::string& path, PromptFormat format) {
  const std::string name = path == "-" ? "standard input" : path;
  const std::vector<std::string> lines = split_lines(read_all(path));
  if (lines.empty()) throw UsageError(fmt::format("--prompt-file: {} holds no prompt", name));
  if (format == PromptFormat::kAuto) {
    const bool named = path.ends_with(".jsonl") || path.ends_with(".ndjson");
    const bool all = std::all_of(lines.begin(), lines.end(), is_prompt_object);
    format = named || all ? PromptFormat::kJsonl : PromptFormat::kText;
  }
  std::vector<PromptSource> prompts;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string where = fmt::format("{}: line {}", name, i + 1);
    if (format == PromptFormat::kJsonl) {
      if (is_blank(lines[i])) continue;
      prompts.push_back(parse_line(lines[i], where));
    } else {
      PromptSource source;
      source.text = lines[i];
      source.where = where;
      prompts.push_back(std::move(source));
    }
  }
  return prompts;
}

Json read_messages(const std::string& option, const std::string& value) {
  std::string text = value;
  if (value == "-") text = read_all("-");
  if (value.starts_with('@')) text = read_all(value.substr(1));
  const auto strict = parse_json(text, option);
  const JsonView view(strict, option, JsonView::Blame::kCaller);
  if (!view.is_array()) view.fail_expected("an array of messages");
  return Json::parse(text);
}

std::vector<int32_t> to_ids(const PromptSource& prompt, const text::Tokenizer* tokenizer,
                            const ChatFlags& flags) {
  if (prompt.ids) return *prompt.ids;
  if (tokenizer == nullptr)
    throw UsageError(fmt::format("{}: the model has no tokenizer; pass --prompt-ids", prompt.where));
  const bool has_template = !tokenizer->chat_template().empty() || !flags.chat_template.empty();
  if (prompt.text) {
    require_utf8(prompt.where, *prompt.text);
    if (prompt.text->empty()) {
      throw UsageError(
          fmt::format("{}: the prompt is empty; --prompt-ids starts from given tokens", prompt.where));
    }
    if (flags.no_auto_chat || (!has_template && !flags.auto_chat)) {
      if (flags.system) {
        throw UsageError(has_template ? "--system needs the chat template, which --no-auto-chat turns off"
                                      : "--system: the tokenizer has no chat template to put it in");
      }
      return tokenizer->encode(*prompt.text, !flags.no_special);
    }
  }
  if (!has_template) {
    throw UsageError(
        fmt::format("{}: the tokenizer has no chat template", prompt.text ? "--auto-chat" : prompt.where));
  }
  Json messages = Json::array();
  if (flags.system) messages.push_back({{"role", "system"}, {"content", *flags.system}});
  if (prompt.text) {
    messages.push_back({{"role", "user"}, {"content", *prompt.text}});
  } else {
    for (const Json& message : *prompt.messages) messages.push_back(message);
  }
  text::ChatOptions options;
  options.chat_template = flags.chat_template;
  options.variables = flags.variables;
  const std::string text = text::apply_chat_template(*tokenizer, messages, options).text;
  return tokenizer->encode(text, false);  // the template writes special tokens itself
}

}  // namespace genkit::cli

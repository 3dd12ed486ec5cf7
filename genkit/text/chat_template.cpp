#include "genkit/text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>

#include "genkit/base/error.h"
#include "genkit/text/rust_bridge.h"

namespace genkit::text {

namespace {

using Json = nlohmann::ordered_json;

/// Names a message's reasoning goes by; the first is the one that most templates read.
constexpr std::array<const char*, 3> kReasoningFields = {"reasoning_content", "thinking", "reasoning"};

/// Marks the end of the last message while it goes through the template.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::string_view kContinueTagTrimmed = "CONTINUE_FINAL_MESSAGE_TAG";

/// Bytes of the white space, as Python defines it, that `text` ends with.
size_t trailing_space(std::string_view text) {
  static constexpr std::string_view kWide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
                                               "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
                                               "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
                                               "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87",
                                               "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a"};
  if (text.empty()) return 0;
  const unsigned char last = static_cast<unsigned char>(text.back());
  if ((last >= 0x09 && last <= 0x0d) || (last >= 0x1c && last <= 0x20)) return 1;
  for (const std::string_view wide : kWide) {
    if (text.ends_with(wide)) return wide.size();
  }
  return 0;
}

std::string_view trim_end(std::string_view text) {
  while (const size_t size = trailing_space(text)) text.remove_suffix(size);
  return text;
}

/// "2026-03-14T09:26:53.000123", local time.
std::string local_time() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto fraction = std::chrono::duration_cast<std::chrono::microseconds>(
      now - std::chrono::floor<std::chrono::seconds>(now));
  std::tm parts{};
  localtime_r(&seconds, &parts);
  // A leap second has no place in the reader's clock.
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, std::min(parts.tm_sec, 59),
                     fraction.count());
}

std::string dump(const Json& value) {
  try {
    return value.dump();
  } catch (const Json::type_error&) {
    throw ArgumentError("messages: invalid UTF-8 in a message or a template variable");
  }
}

RenderedChat unpack(const RustBuffer& buffer) {
  const std::string_view bytes = buffer.view();
  const auto number = [&](size_t index) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + index * sizeof(value), sizeof(value));
    return static_cast<size_t>(value);
  };
  RenderedChat chat;
  const size_t spans = number(0);
  for (size_t i = 0; i < spans; ++i) {
    chat.generation_spans.emplace_back(number(1 + 2 * i), number(2 + 2 * i));
  }
  chat.text = bytes.substr((1 + 2 * spans) * sizeof(uint32_t));
  return chat;
}

/// Drops fields that are null and gives the reasoning all the names that templates read.
Json normalized(const Json& message) {
  Json kept = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) kept[key] = value;
  }
  for (const char* field : kReasoningFields) {
    const auto found = kept.find(field);
    if (found == kept.end()) continue;
    const Json reasoning = *found;
    Json aliased = Json::object();
    aliased["thinking"] = reasoning;
    for (const auto& [key, value] : kept.items()) aliased[key] = value;
    aliased["reasoning_content"] = reasoning;
    return aliased;
  }
  return kept;
}

Json checked_messages(const Json& messages) {
  if (!messages.is_array()) {
    throw ArgumentError(fmt::format("messages: expected an array of messages, got {}", messages.type_name()));
  }
  if (messages.empty()) {
    throw ArgumentError("messages: expected at least one message, got an empty array");
  }
  Json checked = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      throw ArgumentError(fmt::format("messages[{}]: expected an object with role and content, got {}", i,
                                      messages[i].type_name()));
    }
    checked.push_back(normalized(messages[i]));
  }
  return checked;
}

/// null, or an array of objects.
const Json& checked_objects(const Json& value, const char* name) {
  if (value.is_null()) return value;
  if (!value.is_array()) {
    throw ArgumentError(fmt::format("{}: expected an array, got {}", name, value.type_name()));
  }
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_object()) {
      throw ArgumentError(fmt::format("{}[{}]: expected an object, got {}", name, i, value[i].type_name()));
    }
  }
  return value;
}

std::string tagged(const Json& text, const std::string& field) {
  if (!text.is_string()) {
    throw ArgumentError(fmt::format(
        "continue_final_message: the {} of the last message is not text that could go on", field));
  }
  return text.get<std::string>() + std::string(kContinueTag);
}

/// Puts the tag behind the text to go on with. @return that text.
std::string tag_last_message(Json& message, const std::string& field, std::string_view template_text) {
  const auto found = message.find(field);
  if (found == message.end()) {
    throw ArgumentError(
        fmt::format("continue_final_message: the last message has no \"{}\" to continue", field));
  }
  const Json content = *found;
  std::vector<std::string> fields = {field};
  // The reasoning stands under several names: whichever the template reads has to carry the tag.
  if (std::find(kReasoningFields.begin(), kReasoningFields.end(), field) != kReasoningFields.end()) {
    fields.clear();
    for (const char* name : kReasoningFields) {
      const auto copy = message.find(name);
      if (copy != message.end() && *copy == content) fields.push_back(name);
    }
  }
  const auto reads = [&](const std::string& name) {
    return template_text.find(name) != std::string_view::npos;
  };
  if (std::none_of(fields.begin(), fields.end(), reads)) {
    throw ArgumentError(fmt::format("continue_final_message: the chat template never reads \"{}\"", field));
  }
  if (!content.is_array()) {
    for (const std::string& name : fields) message[name] = tagged(message[name], name);
    return content.get<std::string>();
  }
  Json& parts = message[field];
  for (size_t i = parts.size(); i-- > 0;) {
    if (!parts[i].is_object() || !parts[i].contains("text")) continue;
    const Json text = parts[i]["text"];
    parts[i]["text"] = tagged(text, field);
    return text.get<std::string>();
  }
  throw ArgumentError("continue_final_message: no part of the last message is text");
}

std::string_view trim(std::string_view text) {
  text = trim_end(text);
  // Leading white space, by trimming growing prefixes from their end.
  for (size_t size = 1; size <= text.size() && size <= 3;) {
    if (trailing_space(text.substr(0, size)) == size) {
      text.remove_prefix(size);
      size = 1;
    } else {
      ++size;
    }
  }
  return text;
}

void cut_at_tag(RenderedChat* chat, std::string_view continued) {
  const size_t at = chat->text.rfind(kContinueTagTrimmed);
  if (at == std::string::npos || chat->text.find(trim(continued)) == std::string::npos) {
    throw ArgumentError(
        "continue_final_message: the last message does not appear in the chat after the template was "
        "applied; the template may leave out or change parts of it");
  }
  const bool spaced = chat->text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  chat->text.resize(at);
  // The template trimmed the message and with it the space behind the tag.
  if (!spaced) chat->text.resize(trim_end(chat->text).size());
  for (auto& [begin, end] : chat->generation_spans) {
    begin = std::min(begin, chat->text.size());
    end = std::min(end, chat->text.size());
  }
}

const std::string& choose_template(const Tokenizer& tokenizer, const ChatOptions& options,
                                   std::string* name) {
  if (!options.chat_template.empty()) {
    const std::string& named = tokenizer.chat_template(options.chat_template);
    if (named.empty()) return options.chat_template;
    *name = fmt::format("chat template \"{}\"", options.chat_template);
    return named;
  }
  if (!options.tools.is_null()) {
    const std::string& tool_use = tokenizer.chat_template("tool_use");
    if (!tool_use.empty()) {
      *name = "chat template \"tool_use\"";
      return tool_use;
    }
  }
  const std::string& standard = tokenizer.chat_template();
  if (standard.empty()) {
    throw ArgumentError(
        "chat_template: the tokenizer has no default chat template; pass a template or the name of one");
  }
  return standard;
}

}  // namespace

RenderedChat render_template(std::string_view template_text, const Json& variables, std::string_view now,
                             std::string_view template_name) {
  if (!variables.is_object() && !variables.is_null()) {
    throw ArgumentError(fmt::format("variables: expected an object, got {}", variables.type_name()));
  }
  const std::string json = variables.is_null() ? "{}" : dump(variables);
  const std::string clock = now.empty() ? local_time() : std::string(now);
  RustBuffer buffer;
  const int status = gk_chat_render(to_slice(template_text), to_slice(json), to_slice(clock), buffer.out());
  if (status == GK_OK) return unpack(buffer);
  // What a template says to the user by raise_exception stays as it says it.
  const std::string context = status == GK_ARGUMENT ? "" : fmt::format("{}: ", template_name);
  throw_rust_error(status, context, buffer.view());
}

RenderedChat render_chat(std::string_view template_text,
                         const std::vector<std::pair<std::string, std::string>>& special_tokens,
                         const Json& messages, const ChatOptions& options, std::string_view template_name) {
  if (options.continue_final_message && options.add_generation_prompt) {
    throw ArgumentError(
        "continue_final_message: excludes add_generation_prompt: one goes on with the last message, the "
        "other begins a new one");
  }
  Json variables = Json::object();
  for (const auto& [name, text] : special_tokens) variables[name] = text;
  if (!options.variables.is_null() && !options.variables.is_object()) {
    throw ArgumentError(fmt::format("variables: expected an object, got {}", options.variables.type_name()));
  }
  for (const auto& [name, value] : options.variables.items()) {
    if (name == "messages" || name == "tools" || name == "documents" || name == "add_generation_prompt") {
      throw ArgumentError(fmt::format("variables: {}: has an option of its own", name));
    }
    variables[name] = value;
  }
  Json chat = checked_messages(messages);
  std::string continued;
  if (options.continue_final_message) {
    continued = tag_last_message(chat.back(), options.continue_field, template_text);
  }
  variables["messages"] = std::move(chat);
  variables["tools"] = checked_objects(options.tools, "tools");
  variables["documents"] = checked_objects(options.documents, "documents");
  variables["add_generation_prompt"] = options.add_generation_prompt;
  RenderedChat rendered = render_template(template_text, variables, options.now, template_name);
  if (options.continue_final_message) cut_at_tag(&rendered, continued);
  return rendered;
}

RenderedChat apply_chat_template(const Tokenizer& tokenizer, const Json& messages,
                                 const ChatOptions& options) {
  std::string name = "chat template";
  const std::string& text = choose_template(tokenizer, options, &name);
  return render_chat(text, tokenizer.special_tokens(), messages, options, name);
}

}  // namespace genkit::text

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genkit/text/tokenizer.h"

namespace genkit::text {

/// Arguments of transformers' apply_chat_template. Everything a template sees keeps the order of
/// its keys, since templates print dictionaries: hence ordered_json.
struct ChatOptions {
  bool add_generation_prompt = true;
  /// Ends the text where the last message ends, for the model to go on with it; excludes
  /// add_generation_prompt.
  bool continue_final_message = false;
  std::string continue_field = "content";  ///< the field of the last message to go on with
  nlohmann::ordered_json tools;            ///< array of function schemas, or null
  nlohmann::ordered_json documents;        ///< array of objects, or null
  nlohmann::ordered_json variables;        ///< more template variables (enable_thinking, ...), object or null
  /// A template, or the name of one. Empty: the tokenizer's, which is "tool_use" when there are
  /// tools and a template of that name, else "default".
  std::string chat_template;
  /// "2026-03-14T09:26:53": what strftime_now sees; empty: the clock, in local time.
  std::string now;
};

struct RenderedChat {
  std::string text;
  /// [begin, end) in bytes of `text` that {% generation %} blocks produced.
  std::vector<std::pair<size_t, size_t>> generation_spans;
};

/// Renders messages with one of the tokenizer's templates, as transformers does.
/// @param messages array of {"role", "content", ...}; fields that are null count as absent, and
///                 `reasoning`, `thinking` and `reasoning_content` are names of one thing.
/// @throws ArgumentError for messages of the wrong form, for a tokenizer without a template, and
///         with the template's own words for raise_exception; FormatError naming the template,
///         the line and what is wrong for a template that does not parse, fails, or costs more
///         steps, memory or nesting than a chat can need.
/// @source transformers 5.23 apply_chat_template, render_jinja_template.
RenderedChat apply_chat_template(const Tokenizer& tokenizer, const nlohmann::ordered_json& messages,
                                 const ChatOptions& options = {});

/// The same with a template text and the special tokens (name, text) it may speak of.
/// @param template_name what error messages call the template.
RenderedChat render_chat(std::string_view template_text,
                         const std::vector<std::pair<std::string, std::string>>& special_tokens,
                         const nlohmann::ordered_json& messages, const ChatOptions& options = {},
                         std::string_view template_name = "chat template");

/// Renders one template text with the given variables (an object) in the same environment.
/// @param now "2026-03-14T09:26:53"; empty: the clock.
RenderedChat render_template(std::string_view template_text, const nlohmann::ordered_json& variables,
                             std::string_view now = {}, std::string_view template_name = "chat template");

}  // namespace genkit::text

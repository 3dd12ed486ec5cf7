#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/text/tokenizer.h"

namespace genkit::text {

/// Arguments of transformers' apply_chat_template. Everything a template sees keeps the order of
/// its keys, since templates print dictionaries: hence ordered_json.
struct ChatOptions {
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  nlohmann::ordered_json tools;       ///< array of function schemas, or null
  nlohmann::ordered_json documents;   ///< array, or null
  nlohmann::ordered_json variables;   ///< further template variables (enable_thinking, ...), object or null
  std::string chat_template;  ///< a template, or the name of one; empty: the tokenizer's default
  /// "2026-03-14T09:26:53": what strftime_now sees; empty: the clock.
  std::string now;
};

struct RenderedChat {
  std::string text;
  /// [begin, end) in bytes of `text` that {% generation %} blocks produced.
  std::vector<std::pair<size_t, size_t>> generation_spans;
};

/// Renders messages as transformers does.
/// @param messages array of {"role", "content", ...}.
/// @throws ArgumentError for messages of the wrong form, for a tokenizer without a template, and
///         with the template's own words for raise_exception; FormatError naming the template and
///         the line for a template that does not parse or fails.
/// @source transformers 5.23 render_jinja_template.
RenderedChat apply_chat_template(const Tokenizer& tokenizer, const nlohmann::ordered_json& messages,
                                 const ChatOptions& options = {});

/// Renders one template text with the given variables (an object) in the same environment.
RenderedChat render_template(std::string_view template_text, const nlohmann::ordered_json& variables,
                             std::string_view now = {});

}  // namespace genkit::text

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "genkit/generate/generation_config.h"
#include "genkit/steering/spec.h"
#include "genkit/text/tokenizer.h"

namespace genkit::cli {

/// One thing to continue, before it is turned into ids. Exactly one of the first three is set.
struct PromptSource {
  std::optional<std::string> text;
  std::optional<nlohmann::ordered_json> messages;
  std::optional<std::vector<int32_t>> ids;
  std::optional<generate::GenerationConfig> config;  ///< of a line of a JSONL file
  /// The line's own steering, in place of the command line's; an empty list: none.
  std::optional<std::vector<steering::SteerSpec>> steer;
  std::string where;  ///< "--prompt", "prompts.jsonl: line 3"
};

/// How prompts become ids.
struct ChatFlags {
  bool auto_chat = false;     ///< --auto-chat, --assume-user-chat: a template is demanded
  bool no_auto_chat = false;  ///< texts go to the model as they are
  std::optional<std::string> system;
  std::string chat_template;  ///< text or name of a template to use instead of the default
  nlohmann::ordered_json variables;
  bool no_special = false;  ///< no BOS before plain texts
};

enum class PromptFormat { kAuto, kText, kJsonl };

/// The prompts of a file ("-": standard input). Text: one a line. JSONL: one object a line with
/// "prompt", "messages" or "prompt_ids", "steer", and options under their Hugging Face names. kAuto takes a
/// file for JSONL when every line is such an object.
/// @throws UsageError naming file and line, IoError.
std::vector<PromptSource> read_prompt_file(const std::string& path, PromptFormat format);

/// Messages as --messages-json has them: JSON, "@FILE", or "-" for standard input.
nlohmann::ordered_json read_messages(const std::string& option, const std::string& value);

/// The ids of a prompt: messages by the chat template; a text as a user's message where the
/// tokenizer has a template (unless no_auto_chat), else with the tokenizer's own special tokens.
/// @param tokenizer may be null for prompts of ids.
/// @throws UsageError naming where the prompt stands.
std::vector<int32_t> to_ids(const PromptSource& prompt, const text::Tokenizer* tokenizer,
                            const ChatFlags& flags);

}  // namespace genkit::cli

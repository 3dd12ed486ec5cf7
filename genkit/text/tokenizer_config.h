#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genkit/io/gguf_reader.h"

namespace genkit::text {

/// What stands beside the vocabulary, wherever it comes from.
struct TokenizerConfig {
  /// bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token, then other
  /// *_token entries: (name, text), those that are set.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  /// Tokens to add to the engine, in this order: objects as tokenizers' AddedToken has them.
  nlohmann::json added_tokens = nlohmann::json::array();
  bool clean_up_tokenization_spaces = false;
  /// clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
  bool clean_up_bpe = false;
  bool split_special_tokens = false;
  std::optional<std::string> padding_side;  ///< "left" or "right"
  std::optional<std::string> truncation_side;
  /// By name; a tokenizer's only template is "default".
  std::map<std::string, std::string, std::less<>> chat_templates;

  std::optional<std::string_view> special_token(std::string_view name) const;
  /// Sets a named token that is not set, in its place.
  void default_special_token(std::string_view name, std::string text);
};

/// Reads tokenizer_config.json, special_tokens_map.json, added_tokens.json, chat_template.jinja and
/// additional_chat_templates/ of a folder, those that exist. `added_tokens` then holds what
/// transformers adds to what tokenizer.json brings.
/// @throws IoError, FormatError naming file and field.
/// @source transformers 5.23 PreTrainedTokenizerBase._from_pretrained, TokenizersBackend.__init__:
///         add_bos_token and add_eos_token have no effect beside a tokenizer.json.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

/// The same from the metadata of a GGUF file; `special_tokens` holds the spellings of the ids.
TokenizerConfig tokenizer_config_of(const io::GgufFile& file);

}  // namespace genkit::text

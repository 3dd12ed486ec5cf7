#include "genkit/text/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/text/utf8.h"

namespace genkit::text {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kNamedTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                          "pad_token", "cls_token", "mask_token"};

bool is_named(std::string_view key) {
  return std::find(kNamedTokens.begin(), kNamedTokens.end(), key) != kNamedTokens.end();
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::string read_template(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    // An empty file puts the stream into the fail state without being an error.
    std::error_code error;
    if (!stream.is_open() || fs::file_size(path, error) != 0) {
      throw IoError(path.string() + ": cannot be read");
    }
  }
  std::string content = text.str();
  if (const auto bad = find_invalid_utf8(content)) {
    throw FormatError(path.filename().string() + ": invalid UTF-8 at byte " + std::to_string(*bad));
  }
  return content;
}

/// A token as a string or as an AddedToken object.
struct Token {
  std::string content;
  nlohmann::json fields;  ///< null for a plain string
};

Token read_token(const JsonView& value) {
  if (value.is_string()) return {value.string(), nullptr};
  if (!value.is_object()) value.fail_expected("a string or an object with \"content\"");
  Token token{value.at("content").string(), nlohmann::json::object()};
  token.fields["content"] = token.content;
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
    if (const auto found = value.find(flag)) token.fields[flag] = found->boolean();
  }
  return token;
}

/// What the files say about special tokens before they are reconciled.
struct SpecialTokens {
  std::map<std::string, Token> named;
  std::vector<std::string> other_names;  ///< *_token beyond the seven, in the order of the files
  std::vector<Token> extra;

  void set(const std::string& name, Token token) {
    if (!is_named(name) && named.count(name) == 0) other_names.push_back(name);
    named[name] = std::move(token);
  }
};

void read_extra(const JsonView& value, SpecialTokens* tokens) {
  if (value.is_object()) {
    value.for_each([&](const std::string& name, const JsonView& entry) {
      if (!entry.is_null()) tokens->set(name, read_token(entry));
    });
    return;
  }
  for (auto& token : value.array_of(read_token)) {
    const bool known = std::any_of(tokens->extra.begin(), tokens->extra.end(),
                                   [&](const Token& other) { return other.content == token.content; });
    if (!known) tokens->extra.push_back(std::move(token));
  }
}

void read_special_tokens(const JsonView& object, SpecialTokens* tokens) {
  object.for_each([&](const std::string& key, const JsonView& value) {
    if (value.is_null()) return;
    if (key == "extra_special_tokens" || key == "additional_special_tokens") {
      if (key == "additional_special_tokens" && object.find("extra_special_tokens")) return;
      read_extra(value, tokens);
    } else if (is_named(key)) {
      tokens->set(key, read_token(value));
    } else if (key.ends_with("_token") && (value.is_string() || value.is_object())) {
      tokens->set(key, read_token(value));
    }
  });
}

/// added_tokens_decoder: {"128000": {"content": ...}}, in the order of the ids.
std::map<int32_t, Token> read_added_tokens_decoder(const JsonView& decoder) {
  std::map<int32_t, Token> tokens;
  decoder.for_each([&](const std::string& key, const JsonView& value) {
    const bool digits = !key.empty() && key.size() <= 9 &&
                        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) value.fail("expected an id as the key, got \"" + key + "\"");
    if (!value.is_object()) value.fail_expected("an object with \"content\"");
    tokens[std::stoi(key)] = read_token(value);
  });
  return tokens;
}

std::optional<std::string> read_side(const JsonView& object, std::string_view key) {
  const auto found = object.find(key);
  if (!found) return {};
  std::string side = found->string();
  if (side != "left" && side != "right") found->fail("expected \"left\" or \"right\", got \"" + side + "\"");
  return side;
}

void read_chat_templates(const JsonView& value, TokenizerConfig* config) {
  if (value.is_string()) {
    config->chat_templates["default"] = value.string();
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) {
      const JsonView entry = value.at(i);
      config->chat_templates[entry.at("name").string()] = entry.at("template").string();
    }
  } else {
    value.fail_expected("a string or a list of {\"name\", \"template\"}");
  }
}

/// Files of their own take the place of all templates in tokenizer_config.json.
void read_template_files(const fs::path& folder, TokenizerConfig* config) {
  std::map<std::string, std::string, std::less<>> templates;
  if (is_file(folder / "chat_template.jinja")) {
    templates["default"] = read_template(folder / "chat_template.jinja");
  }
  std::error_code error;
  for (fs::directory_iterator it(folder / "additional_chat_templates", error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".jinja" && is_file(it->path())) {
      templates[it->path().stem().string()] = read_template(it->path());
    }
  }
  if (!templates.empty()) config->chat_templates = std::move(templates);
}

/// Tokens that transformers adds after loading tokenizer.json: added_tokens_decoder first, with the
/// flags it gives, then named and extra tokens that are not there yet, as special ones.
void collect_added_tokens(const SpecialTokens& specials,
                          const std::optional<std::map<int32_t, Token>>& decoder, TokenizerConfig* config) {
  const auto is_special_name = [&](const std::string& content) {
    return std::any_of(specials.named.begin(), specials.named.end(),
                       [&](const auto& entry) { return entry.second.content == content; });
  };
  for (const auto& [id, token] : decoder.value_or(std::map<int32_t, Token>{})) {
    nlohmann::json fields = token.fields;
    if (is_special_name(token.content)) fields["special"] = true;
    config->added_tokens.push_back(std::move(fields));
  }
  const auto add_special = [&](const Token& token, bool named) {
    const auto& list = config->added_tokens;
    const bool known = std::any_of(list.begin(), list.end(), [&](const nlohmann::json& entry) {
      return entry["content"] == token.content;
    });
    if (known || token.content.empty()) return;
    nlohmann::json fields = token.fields.is_null() ? nlohmann::json::object() : token.fields;
    fields["content"] = token.content;
    fields["special"] = true;
    fields["only_if_new"] = true;
    fields["promote"] = named && !decoder;
    config->added_tokens.push_back(std::move(fields));
  };
  for (const auto& [name, text] : config->special_tokens) add_special(specials.named.at(name), true);
  for (const Token& token : specials.extra) add_special(token, false);
}

}  // namespace

std::optional<std::string_view> TokenizerConfig::special_token(std::string_view name) const {
  for (const auto& [key, text] : special_tokens) {
    if (key == name) return text;
  }
  return {};
}

void TokenizerConfig::default_special_token(std::string_view name, std::string text) {
  if (special_token(name)) return;
  const auto rank = [](std::string_view key) {
    return std::find(kNamedTokens.begin(), kNamedTokens.end(), key) - kNamedTokens.begin();
  };
  const auto place = std::find_if(special_tokens.begin(), special_tokens.end(),
                                  [&](const auto& entry) { return rank(entry.first) > rank(name); });
  special_tokens.emplace(place, name, std::move(text));
}

TokenizerConfig read_tokenizer_config(const fs::path& folder) {
  TokenizerConfig config;
  SpecialTokens specials;
  std::optional<std::map<int32_t, Token>> decoder;
  if (is_file(folder / "tokenizer_config.json")) {
    const nlohmann::json json = read_json_file(folder / "tokenizer_config.json");
    const JsonView view(json, "tokenizer_config.json");
    if (!view.is_object()) view.fail_expected("an object");
    read_special_tokens(view, &specials);
    if (const auto found = view.find("added_tokens_decoder")) {
      decoder = read_added_tokens_decoder(*found);
    }
    config.clean_up_tokenization_spaces = view.boolean_or("clean_up_tokenization_spaces", false);
    config.clean_up_bpe =
        view.boolean_or("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false);
    config.split_special_tokens = view.boolean_or("split_special_tokens", false);
    config.padding_side = read_side(view, "padding_side");
    config.truncation_side = read_side(view, "truncation_side");
    if (const auto found = view.find("chat_template")) read_chat_templates(*found, &config);
  }
  // Written by early versions; a folder with added_tokens_decoder says it all there.
  if (!decoder && is_file(folder / "special_tokens_map.json")) {
    const nlohmann::json json = read_json_file(folder / "special_tokens_map.json");
    const JsonView view(json, "special_tokens_map.json");
    if (!view.is_object()) view.fail_expected("an object");
    read_special_tokens(view, &specials);
  }
  for (const auto name : kNamedTokens) {
    const auto found = specials.named.find(std::string(name));
    if (found != specials.named.end()) config.special_tokens.emplace_back(name, found->second.content);
  }
  for (const auto& name : specials.other_names) {
    config.special_tokens.emplace_back(name, specials.named.at(name).content);
  }
  collect_added_tokens(specials, decoder, &config);
  read_template_files(folder, &config);
  return config;
}

TokenizerConfig tokenizer_config_of(const io::GgufFile& file) {
  TokenizerConfig config;
  const auto tokens = file.find_strings("tokenizer.ggml.tokens");
  if (!tokens) file.fail("tokenizer.ggml.tokens", "missing");
  constexpr std::array<std::pair<const char*, const char*>, 5> kIds = {
      {{"bos_token", "tokenizer.ggml.bos_token_id"},
       {"eos_token", "tokenizer.ggml.eos_token_id"},
       {"unk_token", "tokenizer.ggml.unknown_token_id"},
       {"sep_token", "tokenizer.ggml.seperator_token_id"},
       {"pad_token", "tokenizer.ggml.padding_token_id"}}};
  for (const auto& [name, key] : kIds) {
    const auto id = file.find_integer(key);
    if (!id) continue;
    if (*id < 0 || static_cast<size_t>(*id) >= tokens->size()) {
      file.fail(key,
                std::to_string(*id) + " is not one of the " + std::to_string(tokens->size()) + " tokens");
    }
    config.special_tokens.emplace_back(name, (*tokens)[static_cast<size_t>(*id)]);
  }
  constexpr std::string_view kTemplate = "tokenizer.chat_template";
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(kTemplate) || value.type != io::GgufType::kString) continue;
    std::string_view name = key.substr(kTemplate.size());
    if (name.empty()) {
      name = ".default";
    } else if (name[0] != '.') {
      continue;
    }
    const std::string_view text = file.string(key);
    if (const auto bad = find_invalid_utf8(text)) {
      file.fail(key, "invalid UTF-8 at byte " + std::to_string(*bad));
    }
    config.chat_templates[std::string(name.substr(1))] = text;
  }
  return config;
}

}  // namespace genkit::text

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genkit::text {

/// Text to token ids and back, by the engine that Hugging Face itself runs. Immutable after
/// loading and usable from several threads at once.
class Tokenizer {
 public:
  /// @param path a folder with tokenizer.json (and tokenizer_config.json, special_tokens_map.json,
  ///             chat_template.jinja where present), or a .gguf file with a vocabulary inside.
  /// @throws IoError, FormatError naming the file and the field.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// @param text UTF-8. @throws ArgumentError naming the byte offset of invalid UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// The same with, for each token, its [begin, end) in code points of the text.
  std::pair<std::vector<int32_t>, std::vector<std::pair<int, int>>> encode_with_offsets(
      std::string_view text, bool add_special_tokens = true) const;
  std::vector<std::vector<int32_t>> encode_batch(const std::vector<std::string>& texts,
                                                 bool add_special_tokens = true) const;
  /// @param clean_up_tokenization_spaces nothing: as tokenizer_config.json says.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false,
                     std::optional<bool> clean_up_tokenization_spaces = {}) const;

  /// One more than the largest id, added tokens included.
  int vocab_size() const;
  std::optional<std::string> id_to_token(int32_t id) const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  bool is_special(int32_t id) const;
  /// The bytes a token stands for in a text (byte-level and byte-fallback resolved), for matching
  /// stop strings; a special token stands for its own spelling.
  std::string token_bytes(int32_t id) const;

  std::optional<int32_t> bos_token_id() const;
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> pad_token_id() const;
  std::optional<int32_t> unk_token_id() const;

  /// The default chat template, or an empty string.
  const std::string& chat_template() const;
  /// The chat template of that name (several may be in one tokenizer), or an empty string.
  const std::string& chat_template(std::string_view name) const;
  /// bos_token, eos_token, ... as the template sees them: (name, text).
  const std::vector<std::pair<std::string, std::string>>& special_tokens() const;

  struct Impl;

 private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace genkit::text

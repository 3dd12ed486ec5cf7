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

/// How the tokens of a vocabulary spell bytes.
enum class TokenSpelling : uint8_t {
  kByteLevel,     ///< in letters of the byte alphabet; decoding is nothing but reading them
  kByteFallback,  ///< "<0x0A>" stands for a byte, other tokens for whole characters
  kWhole,         ///< every token stands for whole characters, or decoding is more involved
};

/// How a batch becomes a rectangle.
struct PaddingOptions {
  bool add_special_tokens = true;
  /// Rows longer than this are cut to it, special tokens counted, at the tokenizer's
  /// truncation_side.
  std::optional<int> max_length;
  /// Pads to max_length instead of to the longest row.
  bool pad_to_max_length = false;
  /// "left" or "right"; nothing: as the tokenizer's configuration says.
  std::optional<std::string> padding_side;
};

struct PaddedBatch {
  std::vector<std::vector<int32_t>> input_ids;       ///< rows of one length
  std::vector<std::vector<int32_t>> attention_mask;  ///< 1 at tokens, 0 at padding
};

/// Text to token ids and back, by the engine that Hugging Face itself runs. Immutable after
/// loading and usable from several threads at once.
class Tokenizer {
 public:
  /// @param path a folder with tokenizer.json (and tokenizer_config.json, special_tokens_map.json,
  ///             chat_template.jinja, additional_chat_templates/ where present), or a .gguf file
  ///             with a vocabulary inside.
  /// @throws IoError, FormatError naming the file and the field.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// @param text UTF-8, at most 1 GiB; zero bytes are characters like any other.
  /// @throws ArgumentError naming the byte offset of invalid UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// The same with, for each token, its [begin, end) in code points of the text.
  std::pair<std::vector<int32_t>, std::vector<std::pair<int, int>>> encode_with_offsets(
      std::string_view text, bool add_special_tokens = true) const;
  /// Several texts, on several threads. @throws ArgumentError naming the text's index too.
  std::vector<std::vector<int32_t>> encode_batch(const std::vector<std::string>& texts,
                                                 bool add_special_tokens = true) const;
  /// @throws ArgumentError naming the option: a tokenizer without a pad token, a max_length below
  ///         the number of special tokens, a padding_side that is no side.
  PaddedBatch encode_padded(const std::vector<std::string>& texts, const PaddingOptions& options = {}) const;
  /// Two texts as one sequence, as the tokenizer's post-processor joins them.
  std::vector<int32_t> encode_pair(std::string_view first, std::string_view second,
                                   bool add_special_tokens = true) const;

  /// @param clean_up_tokenization_spaces nothing: as tokenizer_config.json says. BPE vocabularies
  ///        ignore it, as in transformers, unless their configuration insists.
  /// @throws ArgumentError naming the first id outside [0, vocab_size()). Ids inside that have no
  ///         token add nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false,
                     std::optional<bool> clean_up_tokenization_spaces = {}) const;
  /// Whether decode() cleans up when it is not told.
  bool cleans_up() const;

  /// One more than the largest id, added tokens included.
  int vocab_size() const;
  std::optional<std::string> id_to_token(int32_t id) const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  bool is_special(int32_t id) const;
  TokenSpelling spelling() const;
  /// The bytes a token stands for in a text (byte-level and byte-fallback resolved), for matching
  /// stop strings; a special token stands for its own spelling. Empty for an id without a token.
  /// @source transformers 5.23 StopStringCriteria.clean_tokenizer_vocab
  std::string token_bytes(int32_t id) const;

  std::optional<int32_t> bos_token_id() const;
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> pad_token_id() const;
  std::optional<int32_t> unk_token_id() const;

  /// The default chat template, or an empty string.
  const std::string& chat_template() const;
  /// The chat template of that name (several may be in one tokenizer), or an empty string.
  const std::string& chat_template(std::string_view name) const;
  /// Sorted; "default" is the one of chat_template().
  std::vector<std::string> chat_template_names() const;
  /// bos_token, eos_token, ... as the template sees them: (name, text).
  const std::vector<std::pair<std::string, std::string>>& special_tokens() const;

  struct Impl;

 private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What transformers' clean_up_tokenization does: takes the space out of " .", " n't" and the like.
std::string clean_up_tokenization(std::string text);

}  // namespace genkit::text

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/text/tokenizer.h"
#include "genkit/text/utf8.h"

namespace genkit::text {

/// Turns token ids into text as they come. What push() and finish() return, joined, equals the
/// full decode of the ids; no piece ends inside a UTF-8 character. Amortised constant cost a token.
///
/// Text is held back only where a later token can change it: an unfinished character; a run of
/// byte-fallback tokens, which decode together; and, where the tokenizer cleans up spaces, the
/// last word.
///
///   StreamDecoder decoder(tokenizer);
///   for (int32_t id : ids) std::cout << decoder.push(id);
///   std::cout << decoder.finish();
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  /// Text that is certain after one more token; often empty. An id that has no token (models pad
  /// their vocabularies) is no text.
  std::string push(int32_t id);
  /// What is left, once no token follows. The decoder is then as new.
  std::string finish();

 private:
  std::string push_raw(int32_t id);
  std::string flush_window();
  std::string clean_up(std::string text, bool last);

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  Utf8Accumulator utf8_;          // byte-level vocabularies
  std::vector<int32_t> context_;  // others: the last token that is out, ...
  std::vector<int32_t> window_;   // ... and those that are not
  std::string uncleaned_;         // text whose spaces may still be cleaned up
};

/// The stream of the tokenizers library, step by step, for callers that were written for it.
/// Unlike StreamDecoder it emits byte-fallback characters at once, and fails where later bytes
/// contradict them; it never cleans up spaces, and drops what is unfinished at the end.
/// @source tokenizers 0.23 DecodeStream
class DecodeStream {
 public:
  explicit DecodeStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  /// A piece of text, or nothing when more tokens are needed.
  /// @throws ArgumentError for an id outside the vocabulary; Error when the text so far has changed.
  std::optional<std::string> step(int32_t id);

 private:
  std::string decode() const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  std::string prefix_;
  size_t prefix_index_ = 0;
};

}  // namespace genkit::text

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genkit/text/stream_decoder.h"

namespace genkit::generate {

/// A row's text as it grows. What may still turn out to be the beginning of a stop string is held
/// back, so that the pieces handed out are never taken back; joined, they are text().
class TextOutput {
 public:
  /// @param tokenizer must outlive this.
  TextOutput(const text::Tokenizer& tokenizer, std::vector<std::string> stop_strings,
             bool skip_special_tokens);

  /// @return newly certain text after one more token.
  std::string push(int32_t id);
  /// Ends the text, at the first stop string where the row was stopped by one.
  /// @return the rest.
  std::string finish(bool stopped);
  const std::string& text() const { return text_; }

 private:
  std::string release(size_t count);

  text::StreamDecoder decoder_;
  std::vector<std::string> stop_strings_;
  std::string pending_;
  std::string text_;
};

}  // namespace genkit::generate

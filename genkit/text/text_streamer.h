#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "genkit/text/tokenizer.h"

namespace genkit::text {

/// Text for a reader's eye: whole words, as transformers' TextStreamer prints them. A chunk ends
/// after a space, a newline or a Chinese character. For text as soon as it is certain, see
/// StreamDecoder.
/// @source transformers 5.23 generation/streamers.py, TextStreamer.
class TextStreamer {
 public:
  explicit TextStreamer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  /// What may be printed after one more token; often empty.
  std::string put(int32_t id);
  /// What is left, once no token follows. The streamer can be used again afterwards.
  std::string end();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;  ///< tokens since the last newline
  size_t printed_ = 0;        ///< code points of their text that are out
};

}  // namespace genkit::text

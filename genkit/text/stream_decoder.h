#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "genkit/text/tokenizer.h"

namespace genkit::text {

/// Turns token ids into text as they come. What push() and finish() return, joined, equals the
/// full decode; no piece ends inside a UTF-8 character.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  /// Text that is certain after one more token; often empty.
  std::string push(int32_t id);
  /// What is left, once no token follows.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  size_t prefix_ = 0;
  size_t read_ = 0;
  std::string emitted_;
};

}  // namespace genkit::text

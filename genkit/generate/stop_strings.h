#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "genkit/text/tokenizer.h"

namespace genkit::generate {

/// Finds strings that end a row, in the bytes that tokens stand for.
/// @source transformers 5.23 StopStringCriteria.
class StopStringMatcher {
 public:
  /// @throws ArgumentError naming `stop_strings`: an empty one, or one that no token can end.
  StopStringMatcher(const text::Tokenizer& tokenizer, std::vector<std::string> strings);

  const std::vector<std::string>& strings() const { return strings_; }
  /// Whether the newest id completes a string: a match must end inside it and may begin in any
  /// earlier id, those of a prompt too. @return its place in strings(), or -1.
  int match(std::span<const int32_t> ids) const;

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<std::string> strings_;
  size_t longest_ = 0;  ///< bytes
};

}  // namespace genkit::generate

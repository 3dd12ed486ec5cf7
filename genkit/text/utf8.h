#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace genkit::text {

/// The first byte that is not part of valid UTF-8 (overlong forms, surrogates and code points
/// beyond U+10FFFF are invalid), or nothing.
std::optional<size_t> find_invalid_utf8(std::string_view text);

/// Bytes of the character that `lead` begins, 1 to 4; 0 when it begins none.
size_t utf8_length(unsigned char lead);

/// Number of code points of valid UTF-8.
size_t count_code_points(std::string_view text);

/// Where code point number `index` of valid UTF-8 begins; the text's size when there are fewer.
size_t byte_offset_of(std::string_view text, size_t index);

/// The last code point of valid UTF-8; nothing for an empty text.
std::optional<char32_t> last_code_point(std::string_view text);

/// Decodes bytes that come in pieces. What is not UTF-8 becomes U+FFFD, one for every maximal part
/// of a character, as Python and Rust do it; the joined output equals decoding all at once.
class Utf8Accumulator {
 public:
  /// The text that is certain after these bytes.
  std::string push(std::string_view bytes);
  /// What is left: an unfinished character becomes one U+FFFD.
  std::string finish();

 private:
  std::string pending_;  ///< the beginning of a character
};

}  // namespace genkit::text

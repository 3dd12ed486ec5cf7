#include "genkit/text/utf8.h"

#include <algorithm>

namespace genkit::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/// The allowed second byte depends on the first, which is what rules out overlong forms,
/// surrogates and code points beyond the last.
bool second_fits(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return is_continuation(second);
  }
}

struct Character {
  size_t size;      ///< bytes looked at that belong together, at least 1
  bool valid;       ///< a whole character
  bool unfinished;  ///< the text ended inside
};

/// The character, or the maximal part of one, at the beginning of a text that is not empty.
Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = utf8_length(lead);
  if (length <= 1) return {1, length == 1, false};
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == 1 ? !second_fits(lead, byte) : !is_continuation(byte)) return {i, false, false};
  }
  return {length, true, false};
}

}  // namespace

size_t utf8_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    const Character character = first_character(text.substr(position));
    if (!character.valid) return position;
    position += character.size;
  }
  return {};
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return !is_continuation(static_cast<unsigned char>(c)); }));
}

size_t byte_offset_of(std::string_view text, size_t index) {
  size_t position = 0;
  for (; position < text.size(); ++position) {
    if (is_continuation(static_cast<unsigned char>(text[position]))) continue;
    if (index-- == 0) return position;
  }
  return text.size();
}

std::optional<char32_t> last_code_point(std::string_view text) {
  if (text.empty()) return {};
  size_t begin = text.size() - 1;
  while (begin > 0 && is_continuation(static_cast<unsigned char>(text[begin]))) --begin;
  const auto lead = static_cast<unsigned char>(text[begin]);
  const size_t length = text.size() - begin;
  char32_t code = length == 1 ? lead : lead & (0xFF >> (length + 1));
  for (size_t i = begin + 1; i < text.size(); ++i) {
    code = (code << 6) | (static_cast<unsigned char>(text[i]) & 0x3F);
  }
  return code;
}

std::string Utf8Accumulator::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string text;
  size_t position = 0;
  while (position < pending_.size()) {
    const Character character = first_character(std::string_view(pending_).substr(position));
    if (character.unfinished) break;
    if (character.valid) {
      text.append(pending_, position, character.size);
    } else {
      text.append(kReplacement);
    }
    position += character.size;
  }
  pending_.erase(0, position);
  return text;
}

std::string Utf8Accumulator::finish() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacement);
}

}  // namespace genkit::text

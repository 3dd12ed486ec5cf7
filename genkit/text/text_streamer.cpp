#include "genkit/text/text_streamer.h"

#include <algorithm>

namespace genkit::text {

namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// Byte offset of the n-th code point, at most the text's size.
size_t byte_offset(std::string_view text, size_t code_points) {
  size_t at = 0;
  for (; code_points > 0 && at < text.size(); --code_points) {
    ++at;
    while (at < text.size() && is_continuation(text[at])) ++at;
  }
  return at;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

/// The last code point of valid, non-empty UTF-8.
char32_t last_code_point(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && is_continuation(text[at])) --at;
  const auto lead = static_cast<unsigned char>(text[at]);
  const size_t length = text.size() - at;
  char32_t point = length == 1 ? lead : lead & (0xFFu >> (length + 1));
  for (size_t i = at + 1; i < text.size(); ++i)
    point = (point << 6) | (static_cast<unsigned char>(text[i]) & 0x3F);
  return point;
}

/// CJK ideographs as BERT's tokenizer delimits them: words without spaces between them.
bool is_chinese(char32_t c) {
  static constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
  };
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

}  // namespace

std::string TextStreamer::put(int32_t id) {
  ids_.push_back(id);
  const std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  const size_t from = byte_offset(text, printed_);
  if (text.ends_with('\n')) {
    ids_.clear();
    printed_ = 0;
    return text.substr(from);
  }
  size_t to = text.size();
  if (text.empty() || !is_chinese(last_code_point(text))) {
    const size_t space = text.rfind(' ');
    to = space == std::string::npos ? 0 : space + 1;
  }
  if (to <= from) return {};
  const std::string chunk = text.substr(from, to - from);
  printed_ += count_code_points(chunk);
  return chunk;
}

std::string TextStreamer::end() {
  if (ids_.empty()) return {};
  const std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  const size_t from = byte_offset(text, printed_);
  ids_.clear();
  printed_ = 0;
  return text.substr(from);
}

}  // namespace genkit::text

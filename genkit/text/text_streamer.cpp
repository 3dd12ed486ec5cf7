#include "genkit/text/text_streamer.h"

#include <algorithm>

#include "genkit/text/utf8.h"

namespace genkit::text {

namespace {

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
  const size_t from = byte_offset_of(text, printed_);
  if (text.ends_with('\n')) {
    ids_.clear();
    printed_ = 0;
    return text.substr(from);
  }
  size_t to = text.size();
  if (text.empty() || !is_chinese(*last_code_point(text))) {
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
  const size_t from = byte_offset_of(text, printed_);
  ids_.clear();
  printed_ = 0;
  return text.substr(from);
}

}  // namespace genkit::text

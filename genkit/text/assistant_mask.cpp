#include "genkit/text/assistant_mask.h"

#include <algorithm>
#include <string_view>

namespace genkit::text {

namespace {

int count_code_points(std::string_view text) {
  return static_cast<int>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::vector<int32_t> assistant_mask(const Tokenizer& tokenizer, const RenderedChat& chat) {
  const auto [ids, offsets] = tokenizer.encode_with_offsets(chat.text, false);
  std::vector<int32_t> mask(ids.size(), 0);
  const auto token_at = [&offsets = offsets](int character) {
    return std::find_if(offsets.begin(), offsets.end(), [character](const auto& range) {
      return range.first <= character && character < range.second;
    });
  };
  const std::string_view text = chat.text;
  for (const auto& [begin, end] : chat.generation_spans) {
    const auto first = token_at(count_code_points(text.substr(0, begin)));
    if (first == offsets.end()) break;
    // As the source has it: a block whose end no token holds (or only the first one) reaches the
    // end of the text.
    auto last = token_at(count_code_points(text.substr(0, end)) - 1);
    if (last == offsets.end() || last == offsets.begin()) last = offsets.end() - 1;
    if (last < first) continue;
    std::fill(mask.begin() + (first - offsets.begin()), mask.begin() + (last - offsets.begin()) + 1, 1);
  }
  return mask;
}

}  // namespace genkit::text

#include "genkit/generate/text_output.h"

#include <algorithm>

namespace genkit::generate {
namespace {

/// Length of the longest end of `text` that begins one of the strings without being all of it.
size_t possible_beginning(std::string_view text, const std::vector<std::string>& strings) {
  size_t longest = 0;
  for (const std::string& string : strings) {
    for (size_t length = std::min(text.size(), string.size() - 1); length > longest; --length) {
      if (text.ends_with(std::string_view(string).substr(0, length))) longest = length;
    }
  }
  return longest;
}

}  // namespace

TextOutput::TextOutput(const text::Tokenizer& tokenizer, std::vector<std::string> stop_strings,
                       bool skip_special_tokens)
    : decoder_(std::shared_ptr<const text::Tokenizer>(std::shared_ptr<void>(), &tokenizer),
               skip_special_tokens),
      stop_strings_(std::move(stop_strings)) {}

std::string TextOutput::release(size_t count) {
  std::string out = pending_.substr(0, count);
  pending_.erase(0, count);
  text_ += out;
  return out;
}

std::string TextOutput::push(int32_t id) {
  pending_ += decoder_.push(id);
  size_t held = possible_beginning(pending_, stop_strings_);
  // A whole stop string may lie in what has come; the row's end decides what becomes of it.
  for (const std::string& string : stop_strings_) {
    const size_t begin = pending_.find(string);
    if (begin != std::string::npos) held = std::max(held, pending_.size() - begin);
  }
  return release(pending_.size() - held);
}

std::string TextOutput::finish(bool stopped) {
  pending_ += decoder_.finish();
  if (stopped) {
    size_t end = pending_.size();
    for (const std::string& string : stop_strings_) end = std::min(end, pending_.find(string));
    pending_.erase(end);
  }
  return release(pending_.size());
}

}  // namespace genkit::generate

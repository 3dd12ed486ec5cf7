#include "genkit/generate/stop_strings.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::generate {
namespace {

/// Whether a token that begins like this can be the one in which `text` ends.
bool can_end(std::string_view token, std::string_view text) {
  if (token.find(text) != std::string_view::npos) return true;
  for (size_t length = 1; length <= std::min(token.size(), text.size() - 1); ++length) {
    if (text.ends_with(token.substr(0, length))) return true;
  }
  return false;
}

/// Whether any sequence of tokens could contain the text at all.
bool reachable(const text::Tokenizer& tokenizer, const std::string& text) {
  // What the tokenizer itself makes of the text nearly always answers it, without a walk through the
  // whole vocabulary.
  for (const int32_t id : tokenizer.encode(text, false)) {
    if (can_end(tokenizer.token_bytes(id), text)) return true;
  }
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.id_to_token(id) && can_end(tokenizer.token_bytes(id), text)) return true;
  }
  return false;
}

}  // namespace

StopStringMatcher::StopStringMatcher(const text::Tokenizer& tokenizer, std::vector<std::string> strings)
    : tokenizer_(tokenizer), strings_(std::move(strings)) {
  for (const std::string& text : strings_) {
    if (text.empty()) throw ArgumentError("stop_strings: an empty string would end every row at once");
    if (!reachable(tokenizer, text)) {
      throw ArgumentError(fmt::format(
          "stop_strings: no token of this tokenizer can end \"{}\", so that it would never be found",
          printable(text, 40)));
    }
    longest_ = std::max(longest_, text.size());
  }
}

int StopStringMatcher::match(std::span<const int32_t> ids) const {
  if (ids.empty() || longest_ == 0) return -1;
  // The newest token, and as much before it as a match could reach back to.
  const auto known = [&](int32_t id) { return id >= 0 && id < tokenizer_.vocab_size(); };
  if (!known(ids.back())) return -1;
  const std::string newest = tokenizer_.token_bytes(ids.back());
  std::string tail;
  size_t looked_at = 1;
  for (size_t i = ids.size() - 1; i-- > 0 && tail.size() + 1 < longest_ && looked_at < longest_;
       ++looked_at) {
    if (!known(ids[i])) break;
    tail.insert(0, tokenizer_.token_bytes(ids[i]));
  }
  const std::string bytes = tail + newest;
  int best = -1;
  size_t best_begin = std::string::npos;
  for (size_t k = 0; k < strings_.size(); ++k) {
    const std::string& text = strings_[k];
    // The first place whose match ends behind the tail.
    const size_t from = tail.size() + 1 > text.size() ? tail.size() + 1 - text.size() : 0;
    const size_t begin = bytes.find(text, from);
    if (begin < best_begin) {
      best_begin = begin;
      best = static_cast<int>(k);
    }
  }
  return best;
}

}  // namespace genkit::generate

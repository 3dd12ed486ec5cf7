#include "genkit/text/stream_decoder.h"

#include <algorithm>
#include <utility>

#include "genkit/base/error.h"

namespace genkit::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Tokens that may be held back because the text ends in U+FFFD: a character has at most four
/// bytes, so more of them cannot complete one.
constexpr size_t kLongestWait = 8;

bool is_byte_token(const std::string& token) {
  const auto is_hex = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  return token.size() == 6 && token.starts_with("<0x") && token[5] == '>' && is_hex(token[3]) &&
         is_hex(token[4]);
}

/// Where a text can be cut so that cleaning up the parts is cleaning up the whole: before a space
/// that no replacement can ever touch. Every replacement takes out the space before one of .?!,'n
/// or, in " ' ", the one after an apostrophe; what is no space is never taken out, so the
/// neighbours of the space stay the same.
size_t last_safe_cut(std::string_view text) {
  for (size_t i = text.size(); i-- > 1;) {
    if (text[i] != ' ' || i + 1 >= text.size()) continue;
    const bool before = text[i - 1] != ' ' && text[i - 1] != '\'';
    const bool after = std::string_view(" .?!,'n").find(text[i + 1]) == std::string_view::npos;
    if (before && after) return i;
  }
  return 0;
}

/// The part of `text` behind what it shares with `prefix`, which is all of `prefix` unless the
/// decoder rewrites what it has said.
std::string behind(const std::string& prefix, const std::string& text) {
  size_t shared = static_cast<size_t>(
      std::mismatch(prefix.begin(), prefix.end(), text.begin(), text.end()).first - prefix.begin());
  while (shared > 0 && shared < text.size() && (static_cast<unsigned char>(text[shared]) & 0xC0) == 0x80) {
    --shared;
  }
  return text.substr(shared);
}

}  // namespace

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_tokens_ && tokenizer_->is_special(id)) return {};
  return clean_up(push_raw(id), false);
}

std::string StreamDecoder::push_raw(int32_t id) {
  if (tokenizer_->spelling() == TokenSpelling::kByteLevel) {
    return utf8_.push(tokenizer_->token_bytes(id));
  }
  const auto token = tokenizer_->id_to_token(id);
  if (!token) return {};
  window_.push_back(id);
  if (tokenizer_->spelling() == TokenSpelling::kByteFallback && is_byte_token(*token)) return {};
  return flush_window();
}

std::string StreamDecoder::flush_window() {
  std::vector<int32_t> ids = context_;
  ids.insert(ids.end(), window_.begin(), window_.end());
  const std::string text = tokenizer_->decode(ids, skip_special_tokens_, false);
  const bool closed = tokenizer_->spelling() == TokenSpelling::kByteFallback;
  if (!closed && text.ends_with(kReplacement) && window_.size() < kLongestWait) return {};
  std::string piece = behind(tokenizer_->decode(context_, skip_special_tokens_, false), text);
  context_.assign(1, ids.back());
  window_.clear();
  return piece;
}

std::string StreamDecoder::clean_up(std::string text, bool last) {
  if (!tokenizer_->cleans_up()) return text;
  uncleaned_ += text;
  const size_t cut = last ? uncleaned_.size() : last_safe_cut(uncleaned_);
  std::string piece = clean_up_tokenization(uncleaned_.substr(0, cut));
  uncleaned_.erase(0, cut);
  return piece;
}

std::string StreamDecoder::finish() {
  std::string text = utf8_.finish();
  if (!window_.empty()) {
    std::vector<int32_t> ids = context_;
    ids.insert(ids.end(), window_.begin(), window_.end());
    text += behind(tokenizer_->decode(context_, skip_special_tokens_, false),
                   tokenizer_->decode(ids, skip_special_tokens_, false));
  }
  context_.clear();
  window_.clear();
  return clean_up(std::move(text), true);
}

DecodeStream::DecodeStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

std::string DecodeStream::decode() const { return tokenizer_->decode(ids_, skip_special_tokens_, false); }

std::optional<std::string> DecodeStream::step(int32_t id) {
  if (prefix_.empty() && !ids_.empty()) {
    std::string prefix = decode();
    if (!prefix.ends_with(kReplacement)) {
      prefix_ = std::move(prefix);
      prefix_index_ = ids_.size();
    }
  }
  ids_.push_back(id);
  const std::string text = decode();
  if (text.size() <= prefix_.size() || text.ends_with(kReplacement)) return {};
  if (!text.starts_with(prefix_)) {
    throw Error("decode stream: token " + std::to_string(id) + " changes the text \"" + prefix_ + "\" to \"" +
                text + "\"");
  }
  std::string piece = text.substr(prefix_.size());
  const size_t next_index = ids_.size() - prefix_index_;
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(prefix_index_));
  prefix_ = decode();
  prefix_index_ = next_index;
  return piece;
}

}  // namespace genkit::text

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_map>

#include "genkit/logits/processor.h"

namespace genkit::logits {
namespace {

/// Of each position the length of the longest stretch from there that also begins the text (the Z
/// function); linear in the length.
std::vector<int> common_prefixes(const std::vector<int32_t>& text) {
  const int n = static_cast<int>(text.size());
  std::vector<int> out(text.size(), 0);
  int begin = 0, end = 0;  // of the stretch that reaches furthest
  for (int i = 1; i < n; ++i) {
    int length = i < end ? std::min(end - i, out[i - begin]) : 0;
    while (i + length < n && text[length] == text[i + length]) ++length;
    out[i] = length;
    if (i + length > end) {
      begin = i;
      end = i + length;
    }
  }
  return out;
}

class Dry : public Processor {
 public:
  Dry(DryOptions options, int ignored, TokenBytes token_bytes)
      : options_(std::move(options)), ignored_(ignored), token_bytes_(std::move(token_bytes)) {
    for (const std::string& breaker : options_.breakers) longest_ = std::max(longest_, breaker.size());
  }
  std::string_view name() const override { return "DryPenalty"; }

  void apply(const Context& context, Scores& scores) const override {
    auto ids = context.ids.subspan(std::min<size_t>(ignored_, context.ids.size()));
    if (options_.last_n >= 0) ids = ids.last(std::min<size_t>(options_.last_n, ids.size()));
    // Newest first: what the end of the context has in common with an earlier place are prefixes now.
    const std::vector<int32_t> newest_first(ids.rbegin(), ids.rend());
    const std::vector<int> lengths = common_prefixes(newest_first);
    const int longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    if (longest < options_.allowed_length) return;
    const int limit = tokens_since_breaker(newest_first, longest);
    std::map<int32_t, int> repeated;  // by the token that would go on with the repetition
    for (size_t i = 1; i < lengths.size(); ++i) {
      const int length = std::min(lengths[i], limit);
      if (length < options_.allowed_length) continue;
      int& most = repeated[newest_first[i - 1]];
      most = std::max(most, length);
    }
    for (const auto& [id, length] : repeated) {
      if (id >= scores.vocab_size() || breaks(id)) continue;
      const double penalty = options_.multiplier * std::pow(options_.base, length - options_.allowed_length);
      scores.values()[id] -= static_cast<float>(std::min<double>(penalty, std::numeric_limits<float>::max()));
    }
  }

 private:
  const std::string& bytes(int32_t id) const {
    const auto found = bytes_.find(id);
    return found != bytes_.end() ? found->second : bytes_.emplace(id, token_bytes_(id)).first->second;
  }
  /// Whether a breaker lies within the token.
  bool breaks(int32_t id) const {
    if (longest_ == 0) return false;
    return std::any_of(options_.breakers.begin(), options_.breakers.end(), [&](const std::string& breaker) {
      return bytes(id).find(breaker) != std::string::npos;
    });
  }
  /// How many of the newest tokens follow the last one in which a breaker ends; at most `most`.
  int tokens_since_breaker(const std::vector<int32_t>& newest_first, int most) const {
    if (longest_ == 0) return most;
    for (int i = 0; i < most; ++i) {
      const std::string& token = bytes(newest_first[i]);
      std::string before;  // as much as a breaker that ends in the token could reach back to
      for (size_t j = i + 1; j < newest_first.size() && before.size() + 1 < longest_; ++j) {
        before.insert(0, bytes(newest_first[j]));
      }
      const std::string text = before + token;
      for (const std::string& breaker : options_.breakers) {
        const size_t from = before.size() + 1 > breaker.size() ? before.size() + 1 - breaker.size() : 0;
        if (text.find(breaker, from) != std::string::npos) return i;
      }
    }
    return most;
  }

  DryOptions options_;
  int ignored_;
  TokenBytes token_bytes_;
  size_t longest_ = 0;
  mutable std::unordered_map<int32_t, std::string> bytes_;  ///< of the ids that occurred
};

}  // namespace

ProcessorPtr dry(DryOptions options, int ignored, TokenBytes token_bytes) {
  return std::make_unique<Dry>(std::move(options), ignored, std::move(token_bytes));
}

}  // namespace genkit::logits

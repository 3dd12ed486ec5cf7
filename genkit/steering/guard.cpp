#include "genkit/steering/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::steering {

namespace {

// The library's regular expressions recurse by the length of a match.
constexpr size_t kMostOfALine = 4096;

}  // namespace

struct Guard::Patterns {
  std::vector<std::regex> list;
};

uint64_t variant_seed(uint64_t base_seed, uint64_t variant) {
  // splitmix64 over both; the increment keeps (seed, variant) and (seed + 1, variant - 1) apart.
  uint64_t x = base_seed + 0x9E3779B97F4A7C15u * (2 * variant + 1);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  x &= (uint64_t{1} << 53) - 1;  // a number that JSON readers keep
  return x == base_seed ? x ^ 1 : x;
}

std::vector<std::string> default_suspect_patterns() {
  return {R"([0-9])", R"(\\[a-zA-Z]+|\\[\[\](){}]|\$[^$]+\$)"};
}

GuardCounters& GuardCounters::operator+=(const GuardCounters& other) {
  rows += other.rows;
  identical += other.identical;
  identical_resampled += other.identical_resampled;
  identical_left += other.identical_left;
  suspect += other.suspect;
  suspect_resampled += other.suspect_resampled;
  suspect_left += other.suspect_left;
  return *this;
}

Guard::Guard(const GuardOptions& options) : options_(options), patterns_(std::make_unique<Patterns>()) {
  for (const std::string& pattern : options_.suspect_patterns) {
    try {
      patterns_->list.emplace_back(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      throw ArgumentError(
          fmt::format("suspect_patterns: {}: no regular expression: {}", printable(pattern), error.what()));
    }
  }
}
Guard::~Guard() = default;
Guard::Guard(Guard&&) noexcept = default;

bool Guard::is_suspect(const std::string& text) const {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, std::min(end - begin, kMostOfALine));
    for (const std::regex& pattern : patterns_->list) {
      try {
        if (std::regex_search(line, pattern)) return true;
      } catch (const std::regex_error&) {  // too much to look at: not known to be clean
        return true;
      }
    }
    begin = end + 1;
  }
  return false;
}

GuardedRows Guard::run(const models::Model& model, const text::Tokenizer* tokenizer,
                       const generate::GenerationRequest& request,
                       const std::vector<generate::GeneratedRow>* base) const {
  if (!options_.empty()) {
    const char* name = options_.avoid_identical ? "avoid_identical" : "suspect_patterns";
    const bool sampled = request.config.do_sample.value_or(request.model_defaults.do_sample.value_or(false));
    if (!sampled)
      throw ArgumentError(fmt::format("{}: needs do_sample; greedy rows come out the same again", name));
    if (options_.avoid_identical && base == nullptr)
      throw ArgumentError("avoid_identical: there is no base to compare with");
  }
  GuardedRows out;
  out.rows = generate::generate(model, tokenizer, request).rows;
  out.counters.rows = out.rows.size();
  const auto identical = [&](size_t i) {
    return base != nullptr && i < base->size() && out.rows[i].ids == (*base)[i].ids;
  };
  const auto suspect = [&](size_t i) { return is_suspect(out.rows[i].text); };
  std::vector<size_t> again;
  for (size_t i = 0; i < out.rows.size(); ++i) {
    const bool same = identical(i), odd = suspect(i);
    out.counters.identical += same;
    out.counters.suspect += odd;
    const bool for_identity = same && options_.avoid_identical;
    out.counters.identical_resampled += for_identity;
    out.counters.suspect_resampled += odd;
    if (for_identity || odd) again.push_back(i);
  }
  if (!again.empty()) {
    generate::GenerationRequest second = request;
    second.prompts.clear();
    for (const size_t i : again) {
      generate::Prompt prompt = request.prompts[i];
      if (!prompt.row_key) prompt.row_key = i;
      generate::GenerationConfig config = prompt.config.value_or(generate::GenerationConfig());
      config.seed = variant_seed(out.rows[i].seed, 0x5EC0);
      prompt.config = std::move(config);
      second.prompts.push_back(std::move(prompt));
    }
    auto rows = generate::generate(model, tokenizer, second).rows;
    for (size_t k = 0; k < again.size(); ++k) out.rows[again[k]] = std::move(rows[k]);
  }
  for (size_t i = 0; i < out.rows.size(); ++i) {
    out.counters.identical_left += identical(i);
    out.counters.suspect_left += suspect(i);
  }
  return out;
}

}  // namespace genkit::steering

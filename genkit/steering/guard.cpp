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

/// Rows in place of those of some prompts, with seeds that follow from theirs. A row that Ctrl-C cuts short
/// leaves the one that is there.
void draw_again(const models::Model& model, const text::Tokenizer* tokenizer,
                const generate::GenerationRequest& first, const std::vector<size_t>& which,
                GuardedRows& out) {
  generate::GenerationRequest request = first;
  request.on_token = nullptr;
  request.on_result = nullptr;
  request.prompts.clear();
  for (const size_t i : which) {
    generate::Prompt prompt = first.prompts[i];
    // The row stays what it was to keys, hooks and callbacks.
    if (!prompt.row_key) prompt.row_key = i;
    if (!prompt.hook_row) prompt.hook_row = static_cast<int64_t>(i);
    generate::GenerationConfig config = prompt.config.value_or(generate::GenerationConfig());
    config.seed = variant_seed(out.rows[i].seed, 0x5EC0);
    prompt.config = std::move(config);
    request.prompts.push_back(std::move(prompt));
  }
  if (first.prefix_allowed_tokens_fn) {
    request.prefix_allowed_tokens_fn = [&](size_t row, std::span<const int32_t> ids) {
      return first.prefix_allowed_tokens_fn(which[row], ids);
    };
  }
  if (first.propose_tokens) {
    request.propose_tokens = [&](size_t row, std::span<const int32_t> ids, int most) {
      return first.propose_tokens(which[row], ids, most);
    };
  }
  generate::GenerationResult drawn = generate::generate(model, tokenizer, request);
  for (size_t k = 0; k < which.size(); ++k) {
    if (drawn.rows[k].finish_reason != generate::FinishReason::kCancelled)
      out.rows[which[k]] = std::move(drawn.rows[k]);
  }
  out.timings.prefill_s += drawn.timings.prefill_s;
  out.timings.decode_s += drawn.timings.decode_s;
  out.timings.prompt_tokens += drawn.timings.prompt_tokens;
  out.timings.reused_tokens += drawn.timings.reused_tokens;
  out.timings.new_tokens += drawn.timings.new_tokens;
}

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

nlohmann::ordered_json to_json(const GuardCounters& c) {
  return {{"rows", c.rows},
          {"identical", c.identical},
          {"identical_resampled", c.identical_resampled},
          {"identical_left", c.identical_left},
          {"suspect", c.suspect},
          {"suspect_resampled", c.suspect_resampled},
          {"suspect_left", c.suspect_left}};
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

void Guard::check(const generate::GenerationRequest& request) const {
  if (options_.empty()) return;
  const char* name = options_.avoid_identical ? "avoid_identical" : "suspect_patterns";
  for (const generate::Prompt& prompt : request.prompts) {
    const config::EffectiveConfig config =
        config::resolve(request.model_defaults, request.config, prompt.config ? &*prompt.config : nullptr,
                        request.assistant_model != nullptr);
    if (!config.values.do_sample.value_or(false) || config.mode == config::GenerationMode::kContrastive) {
      throw ArgumentError(
          fmt::format("{}: has no effect in {} decoding, which comes out the same again; it needs do_sample",
                      name, to_string(config.mode)));
    }
    if (config.values.num_return_sequences.value_or(1) > 1)
      throw ArgumentError(fmt::format("{}: looks at one answer a prompt; num_return_sequences is {}", name,
                                      *config.values.num_return_sequences));
  }
}

GuardedRows Guard::run(const models::Model& model, const text::Tokenizer* tokenizer,
                       const generate::GenerationRequest& request,
                       std::span<const generate::GeneratedRow* const> base) const {
  check(request);
  if (options_.avoid_identical && base.empty())
    throw ArgumentError("avoid_identical: there is no base to compare with");
  generate::GenerationRequest drawing = request;
  drawing.on_token = nullptr;
  drawing.on_result = nullptr;
  GuardedRows out;
  generate::GenerationResult first = generate::generate(model, tokenizer, drawing);
  out.rows = std::move(first.rows);
  out.timings = first.timings;
  out.verdicts.resize(out.rows.size());
  out.counters.rows = out.rows.size();
  const auto judge = [&](size_t i) {
    const generate::GeneratedRow* const other = i < base.size() ? base[i] : nullptr;
    out.verdicts[i].identical = other != nullptr && out.rows[i].ids == other->ids;
    out.verdicts[i].suspect = is_suspect(out.rows[i].text);
  };
  std::vector<size_t> again;
  for (size_t i = 0; i < out.rows.size(); ++i) {
    judge(i);
    GuardVerdict& verdict = out.verdicts[i];
    out.counters.identical += verdict.identical;
    out.counters.suspect += verdict.suspect;
    const bool for_identity = verdict.identical && options_.avoid_identical;
    // Whom Ctrl-C has cut short gets no second chance.
    if (!(for_identity || verdict.suspect) || (request.cancel && request.cancel->load())) continue;
    out.counters.identical_resampled += for_identity;
    out.counters.suspect_resampled += verdict.suspect;
    verdict.resampled = true;
    again.push_back(i);
  }
  if (!again.empty()) draw_again(model, tokenizer, request, again, out);
  for (size_t i = 0; i < out.rows.size(); ++i) {
    if (out.verdicts[i].resampled) judge(i);
    out.counters.identical_left += out.verdicts[i].identical;
    out.counters.suspect_left += out.verdicts[i].suspect;
  }
  return out;
}

}  // namespace genkit::steering

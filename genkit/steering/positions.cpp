#include "genkit/steering/positions.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::steering {
namespace {

void require_count(const std::string& option, int k) {
  if (k < 1) throw ArgumentError(fmt::format("{}: last: expected at least 1, got {}", option, k));
}

/// How many of the row's first positions come before what `after_token` allows.
int first_after(const models::RowSpan& span, int32_t token) {
  const int end = span.position + span.length;
  if (span.tokens.size() != static_cast<size_t>(end)) {
    throw ArgumentError(fmt::format(
        "positions: after token {}: this way of generating does not tell hooks the row's tokens", token));
  }
  const auto found = std::find(span.tokens.begin(), span.tokens.end(), token);
  return found == span.tokens.end() ? end : static_cast<int>(found - span.tokens.begin()) + 1;
}

}  // namespace

Positions Positions::last_and_generated(int k) {
  require_count("positions", k);
  return {.last = k};
}

Positions Positions::parse(std::string_view text, const std::string& option) {
  const size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const auto number = [&]() -> int32_t {
    const std::string_view part = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    int32_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || error != std::errc() || end != part.data() + part.size() || value < 0)
      throw ArgumentError(
          fmt::format("{}: {}: expected {}:NUMBER", option, printable(text), printable(kind)));
    return value;
  };
  const bool plain = colon == std::string_view::npos;
  if (plain && kind == "all") return all();
  if (plain && kind == "prompt") return prompt_only();
  if (plain && kind == "generated") return generated_only();
  if (kind == "after") return after(number());
  if (kind == "last" || kind == "prompt-last") {
    Positions out;
    out.last = number();
    require_count(option, out.last);
    out.generated = kind == "last";
    return out;
  }
  throw ArgumentError(
      fmt::format("{}: expected all, prompt, generated, last:K, prompt-last:K or after:ID, got {}", option,
                  printable(text)));
}

std::vector<float> coefficients(const Schedule& schedule, const Positions& positions,
                                const std::optional<std::set<int64_t>>& rows,
                                const models::ForwardInput& input) {
  std::vector<float> out;
  for (const models::RowSpan& span : input.rows) {
    const size_t begin = out.size();
    out.resize(begin + static_cast<size_t>(span.length), 0.0f);
    if (rows && !rows->contains(span.row)) continue;
    const int end = span.position + span.length;
    const int prompt = span.prompt_length >= 0 ? span.prompt_length : end;
    int first = positions.prompt ? (positions.last > 0 ? prompt - positions.last : 0) : prompt;
    if (positions.after_token) first = std::max(first, first_after(span, *positions.after_token));
    const int stop = positions.generated ? end : std::min(end, prompt);
    for (int p = std::max(first, span.position); p < stop; ++p) {
      out[begin + static_cast<size_t>(p - span.position)] = schedule.at(std::max(0, p - prompt + 1));
    }
  }
  return out;
}

int first_steered(const Schedule& schedule, const Positions& positions,
                  const std::optional<std::set<int64_t>>& rows, int64_t row, int prompt_length) {
  constexpr int kNever = std::numeric_limits<int>::max();
  if (schedule.is_zero() || (rows && !rows->contains(row))) return kNever;
  const bool in_prompt = positions.prompt && schedule.at(0) != 0;
  if (!in_prompt) return positions.generated ? prompt_length : kNever;
  return positions.last > 0 ? std::max(0, prompt_length - positions.last) : 0;
}

std::vector<int> tokens_with_logits(const models::ForwardInput& input) {
  std::vector<int> out;
  int end = 0;
  for (const models::RowSpan& span : input.rows) {
    end += span.length;
    int count = 0;
    switch (input.logits) {
      case models::LogitsFor::kLast:
        count = 1;
        break;
      case models::LogitsFor::kPerRow:
        count = std::min(span.logits, span.length);
        break;
      case models::LogitsFor::kAll:
        count = span.length;
        break;
      case models::LogitsFor::kNone:
        break;
    }
    for (int token = end - count; token < end; ++token) out.push_back(token);
  }
  return out;
}

}  // namespace genkit::steering

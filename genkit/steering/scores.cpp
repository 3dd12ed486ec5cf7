#include "genkit/steering/scores.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/base/thread_pool.h"
#include "genkit/kernels/sampling.h"

namespace genkit::steering {

namespace mx = mlx::core;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/// What the logits of one pass may take.
constexpr size_t kLogitBytes = size_t{128} << 20;

size_t logit_rows(const models::Model& model) {
  return std::max<size_t>(
      1, kLogitBytes / sizeof(float) / static_cast<size_t>(std::max(1, model.components().vocab_size)));
}

mx::array logits_of(const models::Model& model, models::ForwardInput input,
                    const std::vector<int32_t>& tokens, const std::vector<models::ForwardHook*>& hooks) {
  input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  mx::array logits = mx::contiguous(*model.forward(input, nullptr, hooks).logits);
  logits.eval();
  return logits;
}

double mean_from(const std::vector<float>& values, size_t begin) {
  double sum = 0;
  for (size_t i = begin; i < values.size(); ++i) sum += values[i];
  return begin < values.size() ? sum / static_cast<double>(values.size() - begin) : kNaN;
}

/// The tokens that spell a word on their own.
std::set<int32_t> forms(const text::Tokenizer& tokenizer, const std::string& word) {
  std::string capital = word;
  if (!capital.empty()) capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(capital[0])));
  std::set<int32_t> ids;
  for (const std::string& text : {word, " " + word, capital, " " + capital}) {
    const std::vector<int32_t> encoded = tokenizer.encode(text, false);
    if (encoded.size() == 1 && !tokenizer.is_special(encoded[0])) ids.insert(encoded[0]);
  }
  return ids;
}

double log_mass(std::span<const float> logits, const std::vector<int32_t>& ids) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const int32_t id : ids)
    largest = std::max(largest, static_cast<double>(logits[static_cast<size_t>(id)]));
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  for (const int32_t id : ids) sum += std::exp(logits[static_cast<size_t>(id)] - largest);
  return largest + std::log(sum);
}

}  // namespace

std::vector<Projection> project(const models::Model& model, const std::vector<TokenSequence>& sequences,
                                int block, const std::vector<float>& direction, VisitOptions options) {
  const int hidden = model.components().hidden_size;
  if (direction.size() != static_cast<size_t>(hidden)) {
    throw ArgumentError(
        fmt::format("direction: {} numbers, but the model's stream has {}", direction.size(), hidden));
  }
  double square = 0;
  for (const float x : direction) square += static_cast<double>(x) * x;
  if (!(square > 0)) throw ArgumentError("direction: has length 0");
  const double length = std::sqrt(square);
  std::vector<Projection> out(sequences.size());
  options.blocks = {block};
  const bool whole = visit_states(model, sequences, options, [&](size_t i, int, std::span<const float> x) {
    for (size_t at = 0; at < x.size(); at += direction.size()) {
      double along = 0, own = 0;
      for (size_t k = 0; k < direction.size(); ++k) {
        along += static_cast<double>(x[at + k]) * direction[k];
        own += static_cast<double>(x[at + k]) * x[at + k];
      }
      out[i].tokens.push_back(static_cast<float>(along / length));
      out[i].cosines.push_back(own > 0 ? static_cast<float>(along / length / std::sqrt(own)) : 0.0f);
    }
    const auto begin = static_cast<size_t>(std::max(0, sequences[i].begin));
    out[i].mean = mean_from(out[i].tokens, begin);
    out[i].mean_cosine = mean_from(out[i].cosines, begin);
  });
  if (!whole) throw Error("interrupted");
  return out;
}

WordLists word_lists(const text::Tokenizer& tokenizer, const std::vector<std::string>& positive,
                     const std::vector<std::string>& negative) {
  const auto ids_of = [&](const std::vector<std::string>& words) {
    std::set<int32_t> all;
    for (const std::string& word : words) {
      const std::set<int32_t> ids = forms(tokenizer, word);
      if (ids.empty()) {
        throw ArgumentError(
            fmt::format("words: \"{}\" is no single token of this vocabulary", printable(word)));
      }
      all.insert(ids.begin(), ids.end());
    }
    return std::vector<int32_t>(all.begin(), all.end());
  };
  WordLists lists{.positive = ids_of(positive), .negative = ids_of(negative)};
  for (const int32_t id : lists.positive) {
    if (std::binary_search(lists.negative.begin(), lists.negative.end(), id)) {
      throw ArgumentError(
          fmt::format("words: \"{}\" is in both lists", printable(tokenizer.id_to_token(id).value_or(""))));
    }
  }
  return lists;
}

double log_odds(std::span<const float> logits, const WordLists& words) {
  return log_mass(logits, words.positive) - log_mass(logits, words.negative);
}

void next_token_logprobs(const models::Model& model, const std::vector<std::vector<int32_t>>& prompts,
                         const std::vector<models::ForwardHook*>& hooks,
                         const std::function<void(size_t, std::span<const float>)>& see) {
  constexpr size_t kMostTokens = 2048;
  const size_t most_rows = logit_rows(model);
  for (size_t begin = 0; begin < prompts.size();) {
    models::ForwardInput input;
    std::vector<int32_t> tokens;
    size_t end = begin;
    while (end < prompts.size() && end - begin < most_rows &&
           (end == begin || tokens.size() + prompts[end].size() <= kMostTokens)) {
      if (prompts[end].empty()) throw ArgumentError("prompts: one of them is empty");
      models::RowSpan row;
      row.length = static_cast<int>(prompts[end].size());
      row.row = static_cast<int64_t>(end);
      row.prompt_length = row.length;
      input.rows.push_back(row);
      tokens.insert(tokens.end(), prompts[end].begin(), prompts[end].end());
      ++end;
    }
    const mx::array logits = logits_of(model, input, tokens, hooks);
    const auto vocab = static_cast<size_t>(logits.shape(1));
    std::vector<float> logprobs(vocab);
    for (size_t i = begin; i < end; ++i) {
      const float* row = logits.data<float>() + (i - begin) * vocab;
      const float sum = kernels::log_sum_exp(row, static_cast<int64_t>(vocab));
      for (size_t k = 0; k < vocab; ++k) logprobs[k] = row[k] - sum;
      see(i, logprobs);
    }
    begin = end;
  }
}

double kl_divergence(std::span<const float> logp, std::span<const float> logq) {
  double sum = 0;
  for (size_t i = 0; i < logp.size(); ++i) {
    if (logp[i] == -std::numeric_limits<float>::infinity()) continue;
    sum += std::exp(static_cast<double>(logp[i])) * (static_cast<double>(logp[i]) - logq[i]);
  }
  return std::max(0.0, sum);  // below 0 by rounding only
}

std::vector<Surprise> surprise(const models::Model& model, const std::vector<TokenSequence>& sequences) {
  std::vector<Surprise> out(sequences.size());
  const size_t most_rows = logit_rows(model);
  for (size_t begin = 0; begin < sequences.size();) {
    models::ForwardInput input;
    input.logits = models::LogitsFor::kPerRow;
    std::vector<int32_t> tokens;
    std::vector<std::pair<size_t, size_t>> scored;  // sequence, and its first token that is scored
    size_t end = begin, rows = 0;
    for (; end < sequences.size(); ++end) {
      const TokenSequence& s = sequences[end];
      const size_t first = static_cast<size_t>(std::max(1, s.begin));
      if (s.ids.size() <= first) continue;
      if (!scored.empty() && rows + s.ids.size() - first > most_rows) break;
      models::RowSpan row;
      row.length = static_cast<int>(s.ids.size()) - 1;  // the last token predicts nothing that is scored
      row.logits = static_cast<int>(s.ids.size() - first);
      rows += s.ids.size() - first;
      input.rows.push_back(row);
      tokens.insert(tokens.end(), s.ids.begin(), s.ids.end() - 1);
      scored.emplace_back(end, first);
    }
    begin = end;
    if (scored.empty()) continue;
    const mx::array logits = logits_of(model, input, tokens, {});
    const auto vocab = static_cast<size_t>(logits.shape(1));
    const float* row = logits.data<float>();
    for (const auto& [index, first] : scored) {
      for (size_t t = first; t < sequences[index].ids.size(); ++t, row += vocab) {
        const float sum = kernels::log_sum_exp(row, static_cast<int64_t>(vocab));
        out[index].nats += static_cast<double>(sum) - row[static_cast<size_t>(sequences[index].ids[t])];
        ++out[index].tokens;
      }
    }
  }
  return out;
}

double perplexity(std::span<const Surprise> rows) {
  Surprise all;
  for (const Surprise& row : rows) {
    all.nats += row.nats;
    all.tokens += row.tokens;
  }
  return all.tokens == 0 ? kNaN : std::exp(all.nats / static_cast<double>(all.tokens));
}

double distinct_n(const std::vector<std::vector<int32_t>>& rows, size_t n) {
  std::set<std::vector<int32_t>> distinct;
  size_t all = 0;
  for (const auto& row : rows) {
    for (size_t i = 0; n > 0 && i + n <= row.size(); ++i, ++all) {
      distinct.emplace(row.begin() + static_cast<std::ptrdiff_t>(i),
                       row.begin() + static_cast<std::ptrdiff_t>(i + n));
    }
  }
  return all == 0 ? kNaN : static_cast<double>(distinct.size()) / static_cast<double>(all);
}

}  // namespace genkit::steering

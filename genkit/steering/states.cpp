#include "genkit/steering/states.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/models/hidden_capture.h"

namespace genkit::steering {

namespace mx = mlx::core;

namespace {

/// What the captured states of one pass may take.
constexpr size_t kStateBytes = size_t{256} << 20;

size_t tokens_that_fit(const models::Model& model, const VisitOptions& options) {
  const size_t bytes =
      options.blocks.size() * static_cast<size_t>(model.components().hidden_size) * sizeof(float);
  const size_t fit = bytes == 0 ? kStateBytes : kStateBytes / bytes;
  return std::clamp<size_t>(static_cast<size_t>(options.tokens_per_pass), 1, std::max<size_t>(fit, 1));
}

/// Sequences [begin, end) as one pass.
models::ForwardInput pack(const std::vector<TokenSequence>& sequences, size_t begin, size_t end) {
  models::ForwardInput input;
  std::vector<int32_t> tokens;
  for (size_t i = begin; i < end; ++i) {
    models::RowSpan row;
    row.length = static_cast<int>(sequences[i].ids.size());
    input.rows.push_back(row);
    tokens.insert(tokens.end(), sequences[i].ids.begin(), sequences[i].ids.end());
  }
  input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  input.logits = models::LogitsFor::kNone;
  return input;
}

void check_sequences(const models::Model& model, const std::vector<TokenSequence>& sequences) {
  const int vocab = model.components().vocab_size;
  for (const TokenSequence& sequence : sequences) {
    if (sequence.ids.empty()) throw ArgumentError(fmt::format("{}: there are no tokens", sequence.where));
    const int limit = model.config().max_position_embeddings;
    if (limit > 0 && sequence.ids.size() > static_cast<size_t>(limit)) {
      throw ArgumentError(fmt::format("{}: {} tokens are more than the model's {} positions", sequence.where,
                                      sequence.ids.size(), limit));
    }
    for (const int32_t id : sequence.ids) {
      if (id < 0 || id >= vocab) {
        throw ArgumentError(
            fmt::format("{}: id {} lies outside the model's {} tokens", sequence.where, id, vocab));
      }
    }
  }
}

/// The states of one pass, [tokens, hidden] a block.
std::map<int, mx::array> states_of(const models::Model& model, const models::ForwardInput& input,
                                   const VisitOptions& options) {
  std::set<models::HiddenCapture::Place> places;
  for (const int block : options.blocks) places.emplace(models::Site::kBlock, block);
  models::HiddenCapture capture(std::move(places));
  std::vector<models::ForwardHook*> hooks = options.hooks;
  hooks.push_back(&capture);
  model.forward(input, nullptr, hooks);
  std::map<int, mx::array> states;
  std::vector<mx::array> all;
  for (const int block : options.blocks) {
    states.emplace(block, mx::contiguous(capture.at(models::Site::kBlock, block)));
    all.push_back(states.at(block));
  }
  mx::eval(all);
  return states;
}

}  // namespace

TokenChoice TokenChoice::parse(std::string_view text, const std::string& option) {
  if (text == "last") return {.kind = Kind::kLast};
  if (text == "mean") return {.kind = Kind::kMean};
  constexpr std::string_view kPrefix = "tokens:";
  TokenChoice choice{.kind = Kind::kTokens};
  bool good = text.starts_with(kPrefix);
  for (size_t begin = kPrefix.size(); good;) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    int token = 0;
    const auto [end, error] = std::from_chars(text.data() + begin, text.data() + comma, token);
    good = error == std::errc() && end == text.data() + comma;
    choice.tokens.push_back(token);
    if (comma == text.size()) break;
    begin = comma + 1;
  }
  if (!good) {
    throw ArgumentError(
        fmt::format("{}: expected last, mean, or tokens:N,N,... with tokens of the response (negative: from "
                    "its end), got {}",
                    option, printable(text)));
  }
  return choice;
}

std::string TokenChoice::text() const {
  if (kind == Kind::kLast) return "last";
  if (kind == Kind::kMean) return "mean";
  return fmt::format("tokens:{}", fmt::join(tokens, ","));
}

std::vector<int> TokenChoice::in(const TokenSequence& sequence) const {
  const int size = static_cast<int>(sequence.ids.size()), length = size - sequence.begin;
  if (size == 0) throw ArgumentError(fmt::format("{}: there are no tokens", sequence.where));
  if (kind == Kind::kLast) return {size - 1};
  if (length <= 0)
    throw ArgumentError(fmt::format("{}: there are no tokens but special ones", sequence.where));
  std::vector<int> chosen;
  if (kind == Kind::kMean) {
    chosen.resize(static_cast<size_t>(length));
    std::iota(chosen.begin(), chosen.end(), sequence.begin);
    return chosen;
  }
  for (const int token : tokens) {
    const int index = token < 0 ? token + length : token;
    if (index < 0 || index >= length) {
      throw ArgumentError(
          fmt::format("{}: has {} tokens, there is no token {}", sequence.where, length, token));
    }
    chosen.push_back(sequence.begin + index);
  }
  return chosen;
}

bool visit_states(const models::Model& model, const std::vector<TokenSequence>& sequences,
                  const VisitOptions& options,
                  const std::function<void(size_t, int, std::span<const float>)>& visit) {
  const int blocks = model.components().num_blocks;
  for (const int block : options.blocks) {
    if (block < 0 || block >= blocks) {
      throw ArgumentError(fmt::format("layers: block {} of a model with {} blocks", block, blocks));
    }
  }
  check_sequences(model, sequences);
  const size_t room = tokens_that_fit(model, options);
  for (size_t begin = 0; begin < sequences.size();) {
    size_t end = begin, tokens = 0;
    while (end < sequences.size() && (end == begin || tokens + sequences[end].ids.size() <= room)) {
      tokens += sequences[end++].ids.size();
    }
    const auto states = states_of(model, pack(sequences, begin, end), options);
    size_t done = 0;
    for (size_t i = begin; i < end; ++i) {
      for (const auto& [block, x] : states) {
        const auto width = static_cast<size_t>(x.shape(1));
        visit(i, block, {x.data<float>() + done * width, sequences[i].ids.size() * width});
      }
      done += sequences[i].ids.size();
    }
    begin = end;
    if (options.progress && !options.progress(end, sequences.size())) return false;
  }
  return true;
}

PooledStates pooled_states(const models::Model& model, const std::vector<TokenSequence>& sequences,
                           const TokenChoice& choice, const VisitOptions& options) {
  std::vector<std::vector<int>> chosen;
  for (const TokenSequence& sequence : sequences) chosen.push_back(choice.in(sequence));
  PooledStates out;
  const bool whole =
      visit_states(model, sequences, options, [&](size_t i, int block, std::span<const float> x) {
        const size_t width = x.size() / sequences[i].ids.size();
        std::vector<double> sum(width, 0.0);
        double lengths = 0;
        for (const int token : chosen[i]) {
          const auto state = x.subspan(static_cast<size_t>(token) * width, width);
          double square = 0;
          for (size_t k = 0; k < width; ++k) {
            sum[k] += state[k];
            square += static_cast<double>(state[k]) * state[k];
          }
          lengths += std::sqrt(square);
        }
        const auto count = static_cast<double>(chosen[i].size());
        for (const double s : sum) out.points[block].push_back(static_cast<float>(s / count));
        out.lengths[block].push_back(lengths / count);
      });
  if (!whole) throw Error("interrupted");
  return out;
}

std::vector<int> all_blocks(const models::Model& model) {
  std::vector<int> blocks(static_cast<size_t>(model.components().num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

}  // namespace genkit::steering

#include "genkit/generate/session.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>

#include "genkit/base/error.h"
#include "genkit/generate/make_drafter.h"
#include "genkit/generate/make_strategy.h"
#include "genkit/models/hidden_capture.h"

namespace genkit::generate {

namespace mx = mlx::core;

/// A row, and how much of what its strategy asked for has been run.
struct GenerationSession::Row {
  std::unique_ptr<Strategy> strategy;
  std::vector<Feed> feeds;
  std::vector<size_t> fed;          ///< tokens of each feed that have been run
  std::vector<FeedOutput> outputs;  ///< one a feed; the memory is kept
  size_t number = 0;
  bool prompt_done = false;
  bool released = false;
};

/// A row's share of one pass: part of one feed.
struct GenerationSession::Piece {
  Row* row;
  size_t feed;
  size_t begin, count;
};

namespace {

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

/// Of how many of the last tokens of a piece [begin, begin + count) logits are wanted.
int logits_in(const Feed& feed, size_t begin, size_t count) {
  if (feed.logits == Feed::kAllTokens) return static_cast<int>(count);
  const int after = static_cast<int>(feed.tokens.size() - begin - count);
  return std::clamp(feed.logits - after, 0, static_cast<int>(count));
}

}  // namespace

GenerationSession::GenerationSession(const models::Model& model, const text::Tokenizer* tokenizer,
                                     SessionOptions options)
    : model_(model),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      fallback_seed_(random_seed()),
      cache_(model.make_cache()) {
  if (options_.prefill_chunk < 1) {
    throw ArgumentError(
        fmt::format("prefill_chunk: expected an integer of at least 1, got {}", options_.prefill_chunk));
  }
  if (options_.assistant_model) draft_.emplace(make_draft_model(*options_.assistant_model, model));
}

GenerationSession::~GenerationSession() = default;

void GenerationSession::prepare_drafts(RowSetup& setup) {
  const GenerationMode mode = setup.config.mode;
  setup.propose_tokens = options_.propose_tokens;
  if (setup.propose_tokens && mode != GenerationMode::kGreedy && mode != GenerationMode::kSampling) {
    throw ArgumentError(
        fmt::format("propose_tokens: has no effect in {} decoding; it acts in greedy decoding and sampling",
                    to_string(mode)));
  }
  if (draft_) setup.draft = &*draft_;
  setup.pass_cost = pass_cost_;
  slack_ = std::max(slack_, longest_draft(setup.config, static_cast<bool>(setup.propose_tokens)));
  cache_.set_slack(slack_);
  if (draft_) draft_->cache.set_slack(slack_);
}

size_t GenerationSession::add(const Prompt& prompt, const GenerationConfig& config) {
  const size_t number = next_number_;
  RowSetup setup;
  setup.row = number;
  setup.model = &model_;
  setup.config = config::resolve(options_.model_defaults, config, prompt.config ? &*prompt.config : nullptr,
                                 draft_.has_value());
  setup.prompt = prepare_prompt(prompt, setup.config, model_, fmt::format("prompt {}", number));
  setup.key = {setup.config.values.seed.value_or(fallback_seed_), prompt.row_key.value_or(number), 0};
  setup.vocab_size = model_.config().vocab_size;
  setup.cache_border = model_.cache_border();
  setup.tokenizer = tokenizer_;
  setup.skip_special_tokens = options_.skip_special_tokens;
  setup.overrun = options_.overrun;
  setup.user_processors = options_.processors;
  setup.prefix_allowed = options_.prefix_allowed_tokens_fn;
  setup.negative_prompt = prompt.negative_prompt_ids;
  setup.choose_continuations = options_.choose_continuations;
  prepare_drafts(setup);
  const size_t tokens = setup.prompt.tokens.size();
  auto row = std::make_unique<Row>();
  row->strategy = make_strategy(std::move(setup));
  row->number = number;
  rows_.emplace(next_number_++, std::move(row));
  prompt_tokens_ += tokens;
  return number;
}

void GenerationSession::plan() {
  std::vector<Row*> idle;
  std::vector<Drafter*> drafters;
  for (const auto& [number, row] : rows_) {
    if (row->strategy->done() || !row->feeds.empty()) continue;
    idle.push_back(row.get());
    if (Drafter* drafter = row->strategy->begin_draft()) drafters.push_back(drafter);
  }
  if (draft_) run_drafts(*draft_, drafters, options_.prefill_chunk);
  for (Row* row : idle) {
    row->feeds = row->strategy->plan(cache_);
    row->fed.assign(row->feeds.size(), 0);
    row->outputs.resize(row->feeds.size());
    for (size_t i = 0; i < row->feeds.size(); ++i) row->outputs[i].begin(row->feeds[i].captures.size());
  }
}

std::vector<GenerationSession::Piece> GenerationSession::next_pass() {
  plan();
  bool prefilling = false;
  for (const auto& [number, row] : rows_) prefilling |= !row->strategy->done() && !row->prompt_done;
  std::vector<Piece> pieces;
  size_t room = static_cast<size_t>(options_.prefill_chunk);
  for (const auto& [number, row] : rows_) {
    if (row->strategy->done()) continue;
    if (prefilling && row->prompt_done && !options_.decode_during_prefill) continue;
    for (size_t i = 0; i < row->feeds.size(); ++i) {
      const size_t left = row->feeds[i].tokens.size() - row->fed[i];
      // Single tokens are what decoding is made of: they go in any case.
      const size_t count = left == 1 && row->prompt_done ? 1 : std::min(left, room);
      if (count == 0) continue;
      room -= std::min(room, count);
      pieces.push_back({row.get(), i, row->fed[i], count});
    }
  }
  return pieces;
}

void GenerationSession::run(const std::vector<Piece>& pieces) {
  models::ForwardInput input;
  input.logits = models::LogitsFor::kPerRow;
  std::vector<int32_t> tokens;
  std::set<models::HiddenCapture::Place> places;
  for (const Piece& piece : pieces) {
    const Feed& feed = piece.row->feeds[piece.feed];
    const auto first = feed.tokens.begin() + static_cast<std::ptrdiff_t>(piece.begin);
    tokens.insert(tokens.end(), first, first + static_cast<std::ptrdiff_t>(piece.count));
    const size_t left = feed.tokens.size() - piece.begin - piece.count;
    input.rows.push_back(
        {.length = static_cast<int>(piece.count),
         .slot = feed.slot,
         .position = cache_.length(feed.slot),
         .rope_length = feed.rope_length,
         .logits = logits_in(feed, piece.begin, piece.count),
         .row = static_cast<int64_t>(piece.row->number),
         .prompt_length = feed.prompt_length,
         .tokens = feed.row_tokens.first(feed.row_tokens.empty() ? 0 : feed.row_tokens.size() - left)});
    for (const Capture& c : feed.captures) places.insert(models::HiddenCapture::place(c.site, c.layer));
  }
  input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  const auto start = std::chrono::steady_clock::now();
  models::HiddenCapture capture(std::move(places));
  std::vector<models::ForwardHook*> hooks = options_.hooks;
  hooks.push_back(&capture);  // sees what the other hooks have made of it
  const models::ForwardOutput output = model_.forward(input, &cache_, hooks);
  std::vector<mx::array> wanted = capture.all();
  wanted.push_back(output.logits ? mx::contiguous(*output.logits) : output.hidden);
  for (mx::array& states : wanted) states = mx::contiguous(states);
  mx::eval(wanted);
  const bool decoding = std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) {
    return piece.row->prompt_done && piece.count == piece.row->feeds[piece.feed].tokens.size();
  });
  if (decoding) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    pass_cost_->record(pieces.size(), tokens.size(), passed.count());
  }
  hand_out(pieces, input, capture, output.logits ? &wanted.back() : nullptr);
}

void GenerationSession::hand_out(const std::vector<Piece>& pieces, const models::ForwardInput& input,
                                 const models::HiddenCapture& capture, const mx::array* logits) {
  size_t logits_done = 0, tokens_done = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    FeedOutput& output = piece.row->outputs[piece.feed];
    if (const size_t count = static_cast<size_t>(input.rows[i].logits); count > 0) {
      const size_t vocab = static_cast<size_t>(logits->shape(-1));
      output.add_logits({logits->data<float>() + logits_done * vocab, count * vocab}, vocab);
      logits_done += count;
    }
    const std::vector<Capture>& captures = piece.row->feeds[piece.feed].captures;
    for (size_t c = 0; c < captures.size(); ++c) {
      const mx::array& states = capture.at(captures[c].site, captures[c].layer);
      const size_t width = static_cast<size_t>(states.shape(-1));
      output.add_states(c, {states.data<float>() + tokens_done * width, piece.count * width});
    }
    tokens_done += piece.count;
    piece.row->fed[piece.feed] += piece.count;
    if (!piece.row->prompt_done) prompt_tokens_done_ += piece.count;
  }
}

bool GenerationSession::advance() {
  bool any = false;
  for (const auto& [number, row] : rows_) {
    if (row->strategy->done() || row->feeds.empty()) continue;
    bool complete = true;
    for (size_t i = 0; i < row->feeds.size(); ++i) complete &= row->fed[i] == row->feeds[i].tokens.size();
    if (!complete) continue;
    row->prompt_done = true;
    row->strategy->advance(cache_, {row->outputs.data(), row->feeds.size()}, events_);
    if (!row->strategy->has_more()) row->feeds.clear();
    any = true;
  }
  return any;
}

bool GenerationSession::step() {
  events_.clear();
  // What the last pass has foreseen comes out a token a step, as if each had had a pass of its own: so
  // a caller can end a row at any of them.
  if (!advance()) {
    const std::vector<Piece> pieces = next_pass();
    if (pieces.empty()) return false;
    run(pieces);
    advance();
  }
  retire();
  return active();
}

void GenerationSession::retire() {
  const bool all_finished = std::all_of(rows_.begin(), rows_.end(),
                                        [](const auto& row) { return row.second->strategy->finished(); });
  for (const auto& [number, row] : rows_) {
    if (all_finished && !row->strategy->done()) row->strategy->cancel(events_);
    if (!row->strategy->done() || row->released) continue;
    row->strategy->release(cache_);
    row->released = true;
    row->feeds.clear();
    row->outputs.clear();
  }
}

void GenerationSession::cancel(size_t number) {
  const auto found = rows_.find(number);
  if (found == rows_.end()) throw ArgumentError(fmt::format("row {}: there is none", number));
  events_.clear();
  found->second->strategy->cancel(events_);
  retire();
}

void GenerationSession::cancel_all() {
  events_.clear();
  for (const auto& [number, row] : rows_) row->strategy->cancel(events_);
  retire();
}

bool GenerationSession::active() const {
  return std::any_of(rows_.begin(), rows_.end(),
                     [](const auto& row) { return !row.second->strategy->done(); });
}

GeneratedRow GenerationSession::take(size_t number) {
  const auto found = rows_.find(number);
  if (found == rows_.end() || !found->second->released) {
    throw ArgumentError(fmt::format("row {}: has no result to take", number));
  }
  GeneratedRow result = found->second->strategy->take();
  rows_.erase(found);
  return result;
}

}  // namespace genkit::generate

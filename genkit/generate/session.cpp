#include "genkit/generate/session.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <string>

#include "genkit/base/error.h"
#include "genkit/generate/make_drafter.h"
#include "genkit/generate/make_strategy.h"
#include "genkit/generate/prompt_scores.h"
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
  int64_t hook_row = 0;         ///< @see Prompt
  std::vector<int32_t> prompt;  ///< what the model sees of it
  KvMarks marks;                ///< of the prompt
  uint64_t hook_revision = 0;   ///< when they were made
  CacheSettings cache;
  bool planned = false;       ///< its first feeds are made
  bool feeds_prompt = false;  ///< the first of them is the prompt, less what another row had of it
  size_t donor = 0;           ///< the row that computes the first `shared` tokens for this one
  size_t shared = 0;          ///< 0: it waits for none
  size_t prompt_fed = 0;
  bool prompt_done = false;
  bool released = false;
  Drafter* behind = nullptr;  ///< whose draft has begun, and whose prompt the draft model is still running
  std::optional<PromptScores> prompt_scores;  ///< where they are asked for

  /// Whether that feed is the prompt, and scores of its tokens are wanted.
  bool scores_prompt(size_t feed) const { return prompt_scores && feed == 0 && feeds_prompt && !prompt_done; }
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

/// The placeholders in front of a row's prompt. Hooks fill them from position 0 on, so only one can.
int prefix_tokens(const std::vector<models::ForwardHook*>& hooks, int64_t row, const std::string& name) {
  int tokens = 0;
  for (const models::ForwardHook* hook : hooks) {
    const int wanted = hook->prefix_tokens(row);
    if (wanted > 0 && tokens > 0)
      throw ArgumentError(fmt::format("hooks: {} has two soft prompts; make one of them", name));
    tokens += wanted;
  }
  return tokens;
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
  prefixes_ = options_.prefixes ? options_.prefixes : std::make_shared<PrefixStore>(model);
  if (&prefixes_->model() != &model_) throw ArgumentError("prefixes: of another model");
  if (options_.prefill_chunk < 1) {
    throw ArgumentError(
        fmt::format("prefill_chunk: expected an integer of at least 1, got {}", options_.prefill_chunk));
  }
  if (options_.assistant_model) draft_.emplace(make_draft_model(*options_.assistant_model, model));
  for (models::ForwardHook* hook : options_.hooks) hook->prepare(model_);
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

std::unique_ptr<GenerationSession::Row> GenerationSession::make_row(const Prompt& prompt,
                                                                    const GenerationConfig& config,
                                                                    size_t number) {
  for (models::ForwardHook* hook : options_.hooks) hook->prepare(model_);  // they may have changed
  RowSetup setup;
  setup.row = number;
  setup.model = &model_;
  setup.config = config::resolve(options_.model_defaults, config, prompt.config ? &*prompt.config : nullptr,
                                 draft_.has_value());
  const std::string name = fmt::format("prompt {}", number);
  const int64_t hook_row = prompt.hook_row.value_or(static_cast<int64_t>(number));
  const int virtual_tokens = prefix_tokens(options_.hooks, hook_row, name);
  setup.prompt = prepare_prompt(prompt, setup.config, model_, name, virtual_tokens);
  setup.key = {setup.config.values.seed.value_or(fallback_seed_), prompt.row_key.value_or(number), 0};
  setup.vocab_size = model_.config().vocab_size;
  setup.cache = cache_settings(setup.config);
  setup.cache.hooked = {options_.hooks, hook_row};
  setup.tokenizer = tokenizer_;
  setup.skip_special_tokens = options_.skip_special_tokens;
  setup.overrun = options_.overrun;
  setup.user_processors = options_.processors;
  setup.prefix_allowed = options_.prefix_allowed_tokens_fn;
  setup.negative_prompt = prompt.negative_prompt_ids;
  setup.choose_continuations = options_.choose_continuations;
  prepare_drafts(setup);
  setup.clock = options_.clock;
  auto row = std::make_unique<Row>();
  if (const std::optional<int> top = setup.config.values.prompt_logprobs) {
    setup.cache.prefixes = nullptr;  // what is begun from has no logits any more
    row->prompt_scores.emplace(setup.prompt.tokens, virtual_tokens, *top);
  }
  row->prompt = setup.prompt.tokens;
  row->cache = setup.cache;
  row->marks = row->cache.hooked.marks(row->prompt, static_cast<int>(row->prompt.size()));
  row->hook_revision = row->cache.hooked.revision();
  row->strategy = make_strategy(std::move(setup));
  row->number = number;
  row->hook_row = hook_row;
  return row;
}

size_t GenerationSession::add(const Prompt& prompt, const GenerationConfig& config) {
  std::unique_ptr<Row> row = make_row(prompt, config, next_number_);
  find_donor(*row);
  prompt_tokens_ += row->prompt.size();
  rows_.emplace(next_number_, std::move(row));
  return next_number_++;
}

void GenerationSession::check(const Prompt& prompt, const GenerationConfig& config, size_t number) {
  make_row(prompt, config, number);
}

void GenerationSession::plan() {
  std::vector<Row*> idle;
  std::vector<Drafter*> drafters, behind;
  bool waiting = false;
  for (const auto& [number, row] : rows_) {
    if (row->strategy->done() || !row->feeds.empty()) continue;
    if (waits(*row)) {
      waiting = true;
      continue;
    }
    idle.push_back(row.get());
    if (!row->behind) row->behind = row->strategy->begin_draft();
    if (row->behind) drafters.push_back(row->behind);
  }
  const auto is_behind = [&](const Drafter* drafter) {
    return drafter && std::find(behind.begin(), behind.end(), drafter) != behind.end();
  };
  if (draft_) {
    behind = catch_up_drafts(*draft_, drafters, options_.prefill_chunk);
    std::erase_if(drafters, is_behind);
    run_drafts(*draft_, drafters, options_.prefill_chunk);
  }
  catching_up_ = !behind.empty();
  for (Row* row : idle) {
    if (is_behind(row->behind)) continue;
    row->behind = nullptr;
    plan(*row);
  }
  if (!waiting && prefixes_ && !options_.prefixes) prefixes_->clear();
}

std::vector<GenerationSession::Piece> GenerationSession::next_pass() {
  for (models::ForwardHook* hook : options_.hooks) hook->prepare(model_);  // what rows begin from goes by it
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
      size_t count = left == 1 && row->prompt_done ? 1 : std::min(left, room);
      if (i == 0) count = up_to_fork(*row, count);
      if (row->scores_prompt(i)) count = std::min(count, PromptScores::kPiece);
      if (count == 0) continue;
      room -= std::min(room, count);
      pieces.push_back({row.get(), i, row->fed[i], count});
    }
  }
  return pieces;
}

CacheSettings GenerationSession::cache_settings(const EffectiveConfig& config) {
  CacheSettings settings;
  settings.border = model_.cache_border();
  settings.use_cache = config.values.use_cache.value_or(true);
  if (config.values.max_kv_size)
    settings.bound = {*config.values.max_kv_size, *config.values.num_sink_tokens};
  // Contrastive search looks at the states of every token of the prompt.
  if (config.mode != GenerationMode::kContrastive) settings.prefixes = prefixes_.get();
  settings.keep = options_.prefixes != nullptr;
  return settings;
}

void GenerationSession::find_donor(Row& row) {
  // Fewer are computed sooner beside other rows than after them.
  constexpr size_t kLeastShared = 64;
  if (!row.cache.prefixes || !row.cache.use_cache) return;
  const int rope_length = static_cast<int>(row.prompt.size());
  size_t most = kLeastShared - 1;
  for (const auto& [number, other] : rows_) {
    if (other->prompt_done || other->strategy->done() || !other->cache.prefixes || !other->cache.use_cache ||
        other->cache.bound != row.cache.bound) {
      continue;
    }
    const int common = std::min({common_length(row.prompt, row.marks.of, other->prompt, other->marks.of),
                                 rope_length - 1, row.marks.known, other->marks.known});
    const int shared = model_.rotated_alike(static_cast<int>(other->prompt.size()), rope_length, common);
    if (static_cast<size_t>(shared) <= most) continue;
    most = row.shared = static_cast<size_t>(shared);
    row.donor = number;
  }
  if (row.shared == 0) return;
  const int kept = prefixes_->reusable({.tokens = row.prompt,
                                        .bound = row.cache.bound,
                                        .rope_length = rope_length,
                                        .most = std::min(rope_length - 1, row.marks.known),
                                        .marks = row.marks.of});
  if (static_cast<size_t>(kept) >= row.shared) row.shared = 0;
}

bool GenerationSession::waits(Row& row) {
  if (row.planned || row.shared == 0) return false;
  const auto found = rows_.find(row.donor);
  const Row* donor = found == rows_.end() ? nullptr : found->second.get();
  bool coming = donor && !donor->prompt_done && !donor->strategy->done();
  if (coming && donor->planned) {
    const int held = cache_.length(donor->feeds[0].slot);
    coming = donor->feeds_prompt && static_cast<size_t>(held) < row.shared;
  }
  if (!coming) row.shared = 0;  // it is there, or never will be
  return coming;
}

void GenerationSession::plan(Row& row) {
  row.feeds = row.strategy->plan(cache_);
  row.fed.assign(row.feeds.size(), 0);
  row.outputs.resize(row.feeds.size());
  for (size_t i = 0; i < row.feeds.size(); ++i) row.outputs[i].begin(row.feeds[i].captures.size());
  if (row.planned) return;
  row.planned = true;
  const std::vector<int32_t>& first = row.feeds[0].tokens;
  const size_t held = static_cast<size_t>(cache_.length(row.feeds[0].slot));
  // The rest of the prompt; a draft may follow it.
  row.feeds_prompt =
      held < row.prompt.size() && first.size() >= row.prompt.size() - held &&
      std::equal(row.prompt.begin() + static_cast<std::ptrdiff_t>(held), row.prompt.end(), first.begin());
  if (!row.feeds_prompt) return;
  reused_tokens_ += held;
  prompt_tokens_done_ += held;
  row.prompt_fed += held;
}

size_t GenerationSession::up_to_fork(const Row& row, size_t count) const {
  if (row.prompt_done || !row.feeds_prompt) return count;
  const size_t held = static_cast<size_t>(cache_.length(row.feeds[0].slot));
  for (const auto& [number, other] : rows_) {
    if (other->planned || other->shared <= held || other->donor != row.number) continue;
    count = std::min(count, other->shared - held);
  }
  return count;
}

void GenerationSession::hand_over(const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    const Row& row = *piece.row;
    if (piece.feed != 0 || row.prompt_done || !row.feeds_prompt) continue;
    const Feed& feed = row.feeds[0];
    const size_t held = static_cast<size_t>(cache_.length(feed.slot));
    const bool wanted = std::any_of(rows_.begin(), rows_.end(), [&](const auto& entry) {
      const Row& other = *entry.second;
      return !other.planned && other.shared == held && other.donor == row.number;
    });
    if (!wanted || row.cache.hooked.revision() != row.hook_revision) continue;
    const auto end = row.prompt.begin() + static_cast<std::ptrdiff_t>(held);
    std::vector<models::KvMark> marks = row.marks.of;
    if (!marks.empty()) marks.resize(held);
    prefixes_->put(
        {{row.prompt.begin(), end}, cache_.snapshot(feed.slot), feed.rope_length, std::move(marks)});
  }
}

void GenerationSession::run(const std::vector<Piece>& pieces) {
  models::ForwardInput input;
  input.logits = models::LogitsFor::kPerRow;
  input.hidden = false;
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
         .logits = piece.row->scores_prompt(piece.feed) ? static_cast<int>(piece.count)
                                                        : logits_in(feed, piece.begin, piece.count),
         .row = piece.row->hook_row,
         .prompt_length = feed.prompt_length,
         .tokens = feed.row_tokens.first(feed.row_tokens.empty() ? 0 : feed.row_tokens.size() - left),
         .has_prefix = feed.has_prefix});
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
      const std::span<const float> values{logits->data<float>() + logits_done * vocab, count * vocab};
      const Feed& feed = piece.row->feeds[piece.feed];
      const auto own = static_cast<size_t>(logits_in(feed, piece.begin, piece.count));
      if (piece.row->scores_prompt(piece.feed)) piece.row->prompt_scores->add(values, vocab);
      if (own > 0) output.add_logits(values.last(own * vocab), vocab, *logits);
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
    if (!piece.row->prompt_done) {
      prompt_tokens_done_ += piece.count;
      piece.row->prompt_fed += piece.count;
    }
  }
}

bool GenerationSession::advance() {
  bool any = false;
  for (const auto& [number, row] : rows_) {
    if (row->strategy->done() || row->feeds.empty()) continue;
    bool complete = true;
    for (size_t i = 0; i < row->feeds.size(); ++i) complete &= row->fed[i] == row->feeds[i].tokens.size();
    if (!complete) continue;
    row->strategy->advance(cache_, {row->outputs.data(), row->feeds.size()}, events_);
    row->prompt_done = true;
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
    if (pieces.empty()) return catching_up_;
    run(pieces);
    hand_over(pieces);
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
    // What a cancelled row leaves undone, nobody waits for.
    if (!row->prompt_done)
      prompt_tokens_done_ += row->prompt.size() - std::min(row->prompt_fed, row->prompt.size());
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

size_t GenerationSession::running() const {
  return static_cast<size_t>(std::count_if(rows_.begin(), rows_.end(),
                                           [](const auto& row) { return !row.second->strategy->done(); }));
}

bool GenerationSession::ended(size_t number) const {
  const auto found = rows_.find(number);
  return found != rows_.end() && found->second->released;
}

GeneratedRow GenerationSession::take(size_t number) {
  const auto found = rows_.find(number);
  if (!ended(number)) {
    throw ArgumentError(fmt::format("row {}: has no result to take", number));
  }
  GeneratedRow result = found->second->strategy->take();
  if (found->second->prompt_scores) found->second->prompt_scores->give_to(result);
  rows_.erase(found);
  return result;
}

}  // namespace genkit::generate

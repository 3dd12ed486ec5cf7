#include "genkit/generate/draft_passes.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::generate {

namespace mx = mlx::core;

namespace {

/// Weights that one token passes through, roughly.
double weights_of(const config::ModelConfig& c) {
  const double hidden = c.hidden_size, heads = double{1} * c.num_attention_heads * c.head_dim;
  const double kv = double{1} * c.num_key_value_heads * c.head_dim;
  const double block = hidden * (2 * heads + 2 * kv) + 3 * hidden * c.intermediate_size;
  return c.num_hidden_layers * block + hidden * c.vocab_size;
}

/// A drafter's feed, and how much of it has been run.
struct Progress {
  Drafter* drafter;
  Feed feed;
  size_t done = 0;
  size_t left() const { return feed.tokens.size() - done; }
};

/// One pass over the next tokens of the feeds that are not through.
void run_pass(DraftModel& draft, std::vector<Progress>& feeds, size_t room) {
  models::ForwardInput input;
  input.logits = models::LogitsFor::kPerRow;
  std::vector<int32_t> tokens;
  std::vector<Progress*> complete;
  for (Progress& p : feeds) {
    // Single tokens are what drafting is made of: they go in any case.
    const size_t count = p.left() == 1 ? 1 : std::min(p.left(), room);
    if (count == 0) continue;
    room -= std::min(room, count);
    const auto first = p.feed.tokens.begin() + static_cast<std::ptrdiff_t>(p.done);
    tokens.insert(tokens.end(), first, first + static_cast<std::ptrdiff_t>(count));
    input.rows.push_back({.length = static_cast<int>(count),
                          .slot = p.feed.slot,
                          .position = draft.cache.length(p.feed.slot),
                          .rope_length = p.feed.rope_length,
                          .logits = p.left() == count ? p.feed.logits : 0});
    p.done += count;
    if (p.left() == 0 && p.feed.logits > 0) complete.push_back(&p);
  }
  if (complete.empty()) input.logits = models::LogitsFor::kNone;
  input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  const models::ForwardOutput output = draft.model.forward(input, &draft.cache);
  mx::array result = complete.empty() ? output.hidden : mx::contiguous(*output.logits);
  result.eval();
  const size_t vocab = static_cast<size_t>(result.shape(-1));
  for (size_t i = 0; i < complete.size(); ++i) {
    complete[i]->drafter->advance({result.data<float>() + i * vocab, vocab});
  }
}

}  // namespace

DraftModel make_draft_model(const models::Model& draft, const models::Model& model) {
  const int vocab = draft.config().vocab_size;
  if (vocab != model.config().vocab_size) {
    throw ArgumentError(fmt::format(
        "assistant_model: its vocabulary of {} is not the model's of {}; drafts must be made of the "
        "model's own tokens",
        vocab, model.config().vocab_size));
  }
  const double own = weights_of(model.config());
  return {draft, draft.make_cache(), own > 0 ? weights_of(draft.config()) / own : 1};
}

std::vector<Drafter*> catch_up_drafts(DraftModel& draft, std::span<Drafter* const> drafters, int chunk) {
  constexpr size_t kFew = 64;  // what drafts leave to be fed is fewer; more is a prompt
  std::vector<Progress> feeds;
  std::vector<Drafter*> behind;
  size_t tokens = 0;
  for (Drafter* drafter : drafters) {
    std::optional<Feed> feed = drafter->feed();
    if (!feed || feed->tokens.size() <= std::min(kFew, static_cast<size_t>(chunk))) continue;
    tokens += feed->tokens.size();
    feed->logits = 0;
    behind.push_back(drafter);
    feeds.push_back({drafter, *std::move(feed)});
  }
  if (tokens <= static_cast<size_t>(chunk)) return {};
  for (Progress& p : feeds) p.feed.tokens.pop_back();  // whose logits begin the draft
  run_pass(draft, feeds, static_cast<size_t>(chunk));
  return behind;
}

void run_drafts(DraftModel& draft, std::span<Drafter* const> drafters, int chunk) {
  std::vector<Progress> feeds;
  const auto unfinished = [](const Progress& p) { return p.left() > 0; };
  do {
    feeds.clear();
    for (Drafter* drafter : drafters) {
      if (std::optional<Feed> feed = drafter->feed()) feeds.push_back({drafter, *std::move(feed)});
    }
    while (std::any_of(feeds.begin(), feeds.end(), unfinished)) {
      run_pass(draft, feeds, static_cast<size_t>(chunk));
    }
  } while (!feeds.empty());
}

}  // namespace genkit::generate

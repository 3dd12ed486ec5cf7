#include "genkit/models/decoder.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "genkit/base/error.h"
#include "genkit/ops/layers.h"

namespace genkit::models {
namespace {

std::string shape_text(const mx::Shape& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

/// Lets every hook that wants a place see it, in order.
mx::array visit(const std::vector<ForwardHook*>& hooks, Site site, int layer, mx::array x,
                const ForwardInput& input) {
  for (ForwardHook* hook : hooks) {
    if (!hook->wants(site, layer)) continue;
    mx::array y = hook->apply(site, layer, x, input);
    if (y.shape() != x.shape()) {
      throw ArgumentError(
          fmt::format("hook: returned {} for {}", shape_text(y.shape()), shape_text(x.shape())));
    }
    x = std::move(y);
  }
  return x;
}

bool any_wants(const std::vector<ForwardHook*>& hooks, Site site, int layer) {
  for (const ForwardHook* hook : hooks) {
    if (hook->wants(site, layer)) return true;
  }
  return false;
}

/// Of how many of a row's last tokens logits are wanted.
int wanted_of(const RowSpan& row, LogitsFor logits) {
  switch (logits) {
    case LogitsFor::kLast:
      return 1;
    case LogitsFor::kAll:
      return row.length;
    case LogitsFor::kNone:
      return 0;
    case LogitsFor::kPerRow:
      return row.logits;
  }
  return 0;
}

/// The tokens whose logits are wanted, in order.
mx::array wanted_tokens(const mx::array& x, const std::vector<RowSpan>& rows, LogitsFor logits) {
  std::vector<int32_t> wanted;
  int end = 0;
  for (const RowSpan& row : rows) {
    end += row.length;
    for (int i = end - wanted_of(row, logits); i < end; ++i) wanted.push_back(i);
  }
  const int count = static_cast<int>(wanted.size());
  if (count == x.shape(0)) return x;
  if (wanted.back() - wanted.front() == count - 1) {
    return mx::slice(x, {wanted.front(), 0}, {wanted.back() + 1, x.shape(1)});
  }
  return mx::take(x, mx::array(wanted.begin(), mx::Shape{count}, mx::int32), 0);
}

}  // namespace

Decoder::Decoder(config::ModelConfig config, Stem stem, std::vector<nn::Block> blocks,
                 std::optional<int> cache_border)
    : Model(std::move(config)),
      stem_(std::move(stem)),
      blocks_(std::make_shared<const std::vector<nn::Block>>(std::move(blocks))),
      form_(nn::can_fuse(*blocks_) ? nn::GraphForm::kFused : nn::GraphForm::kSteps),
      cache_border_(cache_border) {}

std::vector<ops::KvShape> Decoder::cache_layers() const {
  std::vector<ops::KvShape> layers;
  for (const nn::Block& block : *blocks_) {
    const ops::AttentionParams p = nn::attention_of(block).rounded_params();
    layers.push_back({p.kv_heads, p.head_dim, p.value_dim, p.window, ops::cache_type(p)});
  }
  return layers;
}

std::vector<RowSpan> Decoder::check(const ForwardInput& input, cache::KvCache* cache) const {
  const mx::array& given = input.embeddings ? *input.embeddings : input.tokens;
  const bool fits = input.embeddings ? given.ndim() == 2 && given.shape(1) == config_.hidden_size
                                     : given.ndim() == 1 && mx::issubdtype(given.dtype(), mx::integer);
  if (!fits) {
    throw ArgumentError(input.embeddings
                            ? fmt::format("embeddings: expected [tokens, {}], got {}", config_.hidden_size,
                                          shape_text(given.shape()))
                            : fmt::format("tokens: expected whole numbers [tokens], got shape {}",
                                          shape_text(given.shape())));
  }
  if (input.rows.empty()) throw ArgumentError("rows: expected at least one");
  std::vector<RowSpan> rows = input.rows;
  std::set<int> slots;
  int64_t sum = 0;
  for (RowSpan& row : rows) {
    if (row.length < 1)
      throw ArgumentError(fmt::format("rows: expected a length above 0, got {}", row.length));
    if (input.logits == LogitsFor::kPerRow && (row.logits < 0 || row.logits > row.length)) {
      throw ArgumentError(
          fmt::format("rows: logits of {} tokens wanted from a row of {}", row.logits, row.length));
    }
    sum += row.length;
    if (row.slot >= 0) {
      if (!cache) throw ArgumentError(fmt::format("rows: slot {} without a cache", row.slot));
      if (!slots.insert(row.slot).second) throw ArgumentError(fmt::format("rows: slot {} twice", row.slot));
      row.position = cache->length(row.slot);
    }
    if (row.position < 0) throw ArgumentError(fmt::format("rows: position {} is negative", row.position));
    const int64_t end = int64_t{row.position} + row.length;
    const int64_t limit = stem_.positions ? config_.max_position_embeddings : (1 << 30);
    if (end > limit) {
      throw ArgumentError(
          fmt::format("rows: a row of {} tokens is longer than the model's {} positions", end, limit));
    }
  }
  if (sum != given.shape(0)) {
    throw ArgumentError(
        fmt::format("rows: lengths add up to {}, but there are {} tokens", sum, given.shape(0)));
  }
  if (cache && cache->num_layers() != static_cast<int>(blocks_->size())) {
    throw ArgumentError(
        fmt::format("cache: made for {} layers, this model has {}", cache->num_layers(), blocks_->size()));
  }
  return rows;
}

std::shared_ptr<const nn::AttentionContext> Decoder::context(const ForwardInput& input,
                                                             const std::vector<RowSpan>& rows,
                                                             cache::KvCache* cache, bool drops_tokens) const {
  auto made = std::make_shared<nn::AttentionContext>();
  nn::AttentionContext& context = *made;
  std::vector<int32_t> ids;
  for (const RowSpan& row : rows) {
    for (int i = 0; i < row.length; ++i) ids.push_back(row.position + i);
    context.positions.spans.push_back({row.length, row.position, row.rope_length});
    if (drops_tokens) context.wanted.push_back(wanted_of(row, input.logits));
    if (row.slot >= 0) cache->trim(row.slot);
  }
  context.positions.ids = mx::array(ids.begin(), mx::Shape{static_cast<int>(ids.size())}, mx::int32);
  context.positions.batch_length = input.rope_length;
  context.rows.resize(blocks_->size());
  for (size_t layer = 0; layer < blocks_->size(); ++layer) {
    for (const RowSpan& row : rows) {
      auto store = row.slot >= 0 ? cache->store(row.slot, static_cast<int>(layer)) : nullptr;
      context.rows[layer].push_back({row.length, row.position, std::move(store)});
    }
  }
  return made;
}

mx::array Decoder::embed(const ForwardInput& input, const mx::array& positions,
                         const std::vector<ForwardHook*>& hooks) const {
  mx::array x = input.embeddings ? mx::astype(*input.embeddings, mx::float32)
                                 : ops::embedding(mx::astype(input.tokens, mx::int32), stem_.embedding);
  x = visit(hooks, Site::kTokenEmbedding, -1, std::move(x), input);
  if (stem_.embedding_multiplier != 1.0f) x = mx::multiply(x, mx::array(stem_.embedding_multiplier));
  if (stem_.positions) x = mx::add(x, ops::embedding(positions, *stem_.positions));
  return x;
}

mx::array Decoder::head(const mx::array& states) const {
  mx::array y = stem_.head ? (*stem_.head)(states) : ops::linear(states, stem_.embedding);
  y = mx::astype(y, mx::float32);
  if (stem_.logits_multiplier != 1.0f) y = mx::multiply(y, mx::array(stem_.logits_multiplier));
  if (stem_.logits_softcap > 0.0f) y = ops::softcap(y, stem_.logits_softcap);
  return y;
}

ForwardOutput Decoder::forward(const ForwardInput& given, cache::KvCache* cache,
                               const std::vector<ForwardHook*>& hooks) const {
  for (ForwardHook* hook : hooks) hook->prepare(*this);
  ForwardInput input = given;
  input.rows = check(given, cache);
  const std::vector<RowSpan>& rows = input.rows;
  // What no hook and no caller looks at is left out of the last block.
  const int last = static_cast<int>(blocks_->size()) - 1;
  const bool drops_tokens =
      !input.hidden && !any_wants(hooks, Site::kBlock, last) && !any_wants(hooks, Site::kFinal, -1) &&
      std::any_of(rows.begin(), rows.end(),
                  [&](const RowSpan& row) { return wanted_of(row, input.logits) < row.length; });
  const auto context = this->context(input, rows, cache, drops_tokens);
  const mx::array embedded = embed(input, context->positions.ids, hooks);
  mx::array x = run_blocks(visit(hooks, Site::kEmbedding, -1, embedded, input), input, context, hooks);
  ForwardOutput out;
  out.hidden = x;
  // Norm and head act on every token by itself: those that nobody asked for are left out early.
  const bool all_final = any_wants(hooks, Site::kFinal, -1);
  const bool any_logits = std::any_of(rows.begin(), rows.end(),
                                      [&](const RowSpan& row) { return wanted_of(row, input.logits) > 0; });
  if (!any_logits && !all_final) return out;
  const bool left_out = !context->wanted.empty();
  if (!all_final && !left_out) x = wanted_tokens(x, rows, input.logits);
  x = visit(hooks, Site::kFinal, -1, stem_.final_norm(x), input);
  if (!any_logits) return out;
  if (all_final) x = wanted_tokens(x, rows, input.logits);
  out.logits = visit(hooks, Site::kLogits, -1, head(x), input);
  return out;
}

mx::array Decoder::run_blocks(mx::array x, const ForwardInput& input,
                              const std::shared_ptr<const nn::AttentionContext>& context,
                              const std::vector<ForwardHook*>& hooks) const {
  const int count = static_cast<int>(blocks_->size());
  for (int begin = 0, end = 0; begin < count; begin = end) {
    // Blocks that no hook stands between are one node.
    do {
      ++end;
    } while (end < count && !any_wants(hooks, Site::kBlock, end - 1));
    x = nn::run_blocks({blocks_, begin, end, end == count}, x, context, form_);
    x = visit(hooks, Site::kBlock, end - 1, std::move(x), input);
  }
  return x;
}

Components Decoder::components() const {
  Components c;
  c.embedding = &stem_.embedding;
  c.head = stem_.head ? &stem_.head->weight : &stem_.embedding;
  c.tied = !stem_.head;
  c.num_blocks = static_cast<int>(blocks_->size());
  c.hidden_size = config_.hidden_size;
  c.vocab_size = config_.vocab_size;
  c.final_norm = stem_.final_norm.weight ? &*stem_.final_norm.weight : nullptr;
  return c;
}

int Decoder::rotated_alike(int a, int b, int length) const {
  for (const nn::Block& block : *blocks_) {
    if (const auto& rope = nn::attention_of(block).rope) length = rope->rotated_alike(a, b, length);
  }
  return length;
}

ops::AttentionParams attention_params(const config::ModelConfig& c, int layer) {
  ops::AttentionParams p;
  p.heads = c.num_attention_heads;
  p.kv_heads = c.num_key_value_heads;
  p.head_dim = c.head_dim;
  p.value_dim = c.head_dim;
  p.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));
  p.window = c.layer_kinds[layer] == config::LayerKind::kSliding ? c.sliding_window : 0;
  return p;
}

nn::Attention separate_attention(const config::ModelConfig& c, int layer, const WeightReader& w,
                                 std::shared_ptr<const nn::Rope> rope, bool qkv_bias, bool out_bias) {
  const int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  nn::Attention a;
  a.layer = layer;
  a.params = attention_params(c, layer);
  a.qkv = {w.linear("q_proj", q, c.hidden_size, qkv_bias), w.linear("k_proj", kv, c.hidden_size, qkv_bias),
           w.linear("v_proj", kv, c.hidden_size, qkv_bias)};
  a.out = w.linear("o_proj", c.hidden_size, q, out_bias);
  a.rope = std::move(rope);
  return a;
}

nn::GatedMlp gated_mlp(const config::ModelConfig& c, const WeightReader& w, bool bias) {
  return {w.linear("gate_proj", c.intermediate_size, c.hidden_size, bias),
          w.linear("up_proj", c.intermediate_size, c.hidden_size, bias),
          w.linear("down_proj", c.hidden_size, c.intermediate_size, bias),
          nn::activation_from_name(c.hidden_act)};
}

Stem make_stem(const config::ModelConfig& c, const WeightReader& w, nn::Norm final_norm,
               const std::string& embedding_name, const std::string& head_name) {
  Stem stem;
  stem.embedding = w.matrix(embedding_name, c.vocab_size, c.hidden_size);
  stem.final_norm = std::move(final_norm);
  const WeightReader top(w.checkpoint(), w.options());
  if (!c.tie_word_embeddings) {
    stem.head = nn::Linear{top.matrix(head_name, c.vocab_size, c.hidden_size), std::nullopt};
  } else if (top.has(head_name)) {
    top.matrix(head_name, c.vocab_size, c.hidden_size);
  }
  // Logits are wanted of few tokens at a time, even of a long prompt, and most of a small model's weights are
  // here.
  ops::Weight& head = stem.head ? stem.head->weight : stem.embedding;
  if (head.arithmetic == ops::Arithmetic::kFast) head.arithmetic = ops::Arithmetic::kInt8;
  return stem;
}

WeightReader model_weights(io::Checkpoint& checkpoint, const LoadOptions& options) {
  return {checkpoint, options, "model."};
}

std::vector<nn::Block> make_blocks(const config::ModelConfig& config,
                                   const std::function<nn::Block(int layer)>& make) {
  std::vector<nn::Block> blocks;
  blocks.reserve(config.num_hidden_layers);
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) blocks.push_back(make(layer));
  return blocks;
}

}  // namespace genkit::models

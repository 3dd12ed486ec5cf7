#pragma once

#include <mlx/array.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/cache/kv_cache.h"
#include "genkit/config/model_config.h"
#include "genkit/ops/weight.h"

namespace genkit::models {

namespace mx = mlx::core;

/// One row's share of a packed forward pass.
struct RowSpan {
  int length = 0;    ///< tokens of this row
  int slot = -1;     ///< its slot in the cache; -1: no cache, positions start at `position`
  int position = 0;  ///< absolute position of the first token; with a slot, the cache's length
  /// Which frequencies longrope and dynamic rope choose. 0: this span is all there is, as in one
  /// forward pass of transformers, and every token goes by position + length. Otherwise (generation:
  /// the prompt's length) the token at p goes by max(rope_length, p + 1), so that the choice does not
  /// depend on how the tokens are cut into passes.
  int rope_length = 0;
  /// For LogitsFor::kPerRow: of how many of the last tokens logits are wanted.
  int logits = 1;
  /// For hooks: which prompt of a request these tokens belong to, and how many tokens of its row are
  /// the prompt, so that positions from there on are generated. -1: no request stands behind them.
  int64_t row = -1;
  int prompt_length = -1;
  /// For hooks that go by tokens: the row's, from position 0 to the end of this span. Empty where the
  /// caller does not keep them.
  std::span<const int32_t> tokens = {};
  /// For hooks that fill placeholders (ForwardHook::prefix_tokens): whether the row begins with them.
  bool has_prefix = true;
};

enum class LogitsFor : uint8_t { kLast, kAll, kNone, kPerRow };

/// Tokens of several rows one after another, with no padding between them.
struct ForwardInput {
  mx::array tokens = mx::array({0});    ///< [tokens] int32
  std::optional<mx::array> embeddings;  ///< [tokens, hidden] float32, in place of `tokens`
  std::vector<RowSpan> rows;            ///< their lengths add up to `tokens`
  LogitsFor logits = LogitsFor::kLast;  ///< kLast: of each row's last token; kPerRow: @see RowSpan::logits
  /// Total length (largest position + 1) by which longrope and dynamic rope choose their
  /// frequencies for all rows, as transformers does with a batch; nothing: each row's own.
  std::optional<int> rope_length;
  /// False: nobody will look at ForwardOutput::hidden, so that it holds the tokens alone whose logits
  /// are wanted, and the last block computes no more than keys and values for the others.
  bool hidden = true;
};

/// Where a hook may look at or change the stream of a forward pass.
enum class Site : uint8_t {
  kTokenEmbedding,  ///< what the embedding table gives, before scaling and learned positions
  kEmbedding,       ///< input of the first block, after scaling and learned positions
  kBlock,           ///< output of decoder block `layer`, after its residual additions
  kFinal,           ///< after the final norm, before the head
  kLogits,          ///< fp32 logits of the tokens that asked for them
};

class Model;

/// What hooks have done to one position of a row, for caches: 0 where they left it alone, else a number
/// that others who did something else there do not have. It has no protection against forgery.
using KvMark = uint64_t;

/// Sees the named places of a forward pass in order; may return another array of the same shape.
class ForwardHook {
 public:
  virtual ~ForwardHook() = default;
  /// Called at the start of every forward pass: the place to hold what the hook has against the model.
  /// Must be cheap when nothing has changed. @throws ArgumentError for what does not fit the model.
  virtual void prepare(const Model& /*model*/) {}
  /// Placeholder tokens that generation feeds in front of a row's prompt, for the hook to fill at
  /// kTokenEmbedding. No processor, limit or result counts them. @param row @see RowSpan::row.
  virtual int prefix_tokens(int64_t /*row*/) const { return 0; }
  /// How many of a row's first positions have the keys and values that they would have without this
  /// hook: those may be taken from other rows, and left to them. @param row @see RowSpan::row.
  virtual int untouched(int64_t /*row*/, int /*prompt_length*/) const { return 0; }
  /// Mixes into marks[p] what this hook does to position p of a row, as far as keys and values show it: rows
  /// that are fed the same tokens have the same keys and values as far as their marks are the same, and one
  /// without hooks has marks of 0. Called after prepare().
  /// @param row its number, its prompt's length, and its tokens from position 0.
  /// @return for how many of the first positions the marks speak; the others' keys and values are left to
  ///         no other row.
  virtual int mark(const RowSpan& row, std::span<KvMark> /*marks*/) const {
    return untouched(row.row, row.prompt_length);
  }
  /// Another number whenever what the hook does may have changed.
  virtual uint64_t revision() const { return 0; }
  /// Asked before anything is built, so that unused places cost nothing.
  /// @param layer the block for kBlock, -1 at the other places.
  virtual bool wants(Site site, int layer) const = 0;
  /// @param input with the rows' positions resolved: those of the cache where they have a slot.
  virtual mx::array apply(Site site, int layer, const mx::array& x, const ForwardInput& input) = 0;
};

struct ForwardOutput {
  std::optional<mx::array> logits;     ///< [wanted tokens, vocab] float32; nothing where none is wanted
  mx::array hidden = mx::array(0.0f);  ///< [tokens, hidden] output of the last block, before the final
                                       ///< norm: what to evaluate where there are no logits
};

/// Typed answer to "where are this model's parts": @see Model::components.
struct Components {
  const ops::Weight* embedding = nullptr;  ///< [vocab, hidden]
  const ops::Weight* head = nullptr;       ///< [vocab, hidden]; equals `embedding` when tied
  bool tied = false;
  int num_blocks = 0;
  int hidden_size = 0;
  int vocab_size = 0;
  const mx::array* final_norm = nullptr;  ///< [hidden]
};

/// A decoder-only language model with its weights. Immutable after loading; forward() may be
/// called from several threads with different caches.
class Model {
 public:
  virtual ~Model() = default;

  const config::ModelConfig& config() const { return config_; }
  /// Another number for every model of the process: for what is kept about one, and must not be taken
  /// for another's that lies where it lay.
  uint64_t serial() const { return serial_; }
  /// An empty cache that fits this model. @param type of its numbers in every layer, instead of what loses
  /// nothing.
  cache::KvCache make_cache(std::optional<ops::KvType> type = std::nullopt) const;
  /// The shape of each layer's cache, of numbers that lose nothing (@see ops::cache_type).
  virtual std::vector<ops::KvShape> cache_layers() const = 0;

  /// Runs the packed tokens through the model. Lazy: nothing is computed before the result is
  /// evaluated, and with a cache the result must be evaluated before the next call.
  /// @param hooks called in order at every place they want.
  /// @throws ArgumentError when lengths and shapes do not add up or a slot is unknown.
  virtual ForwardOutput forward(const ForwardInput& input, cache::KvCache* cache = nullptr,
                                const std::vector<ForwardHook*>& hooks = {}) const = 0;

  virtual Components components() const = 0;
  /// Whether forward() shows hooks that place. Every family of this library has all of them.
  virtual bool has_site(Site /*site*/) const { return true; }
  /// The head alone. @param states [n, hidden], after the final norm (or before it, for those who
  /// look into the middle of a model). @return [n, vocab] float32 logits, scaled and capped.
  virtual mx::array head(const mx::array& states) const = 0;

  /// What generation puts into RowSpan::rope_length for a row of `total` tokens (those fed by this
  /// pass included) that began with a prompt of `prompt_length`, cached or not.
  int rope_length(int prompt_length, int total) const;
  /// False when a row that holds `cached` positions cannot go on to a total of `total`: its keys were
  /// rotated with frequencies that the longer row does not use. All its tokens must then be fed
  /// again, from position 0; and no pass may begin below that border and end past it with more than
  /// the prompt. @see cache_border
  /// @source transformers 5.23 Phi3ForCausalLM.prepare_inputs_for_generation.
  bool can_extend(int cached, int total) const;
  /// The total length past which can_extend() turns false: phi3's original_max_position_embeddings.
  /// Nothing where there is no such border.
  virtual std::optional<int> cache_border() const { return std::nullopt; }
  /// Of the first `length` tokens of two rows that are fed the same, how many leading ones have the
  /// same keys when one row has RowSpan::rope_length `a` and the other `b`.
  virtual int rotated_alike(int a, int b, int length) const = 0;

  /// Tells models apart that would not compute the same keys and values: their weights, configuration
  /// and arithmetic. Made at the first call, which reads all of the weights.
  /// @throws ArgumentError for a model that load_model() did not make.
  const std::string& fingerprint() const;
  /// Says how the fingerprint is made.
  void set_fingerprint(std::function<std::string()> make) { make_fingerprint_ = std::move(make); }

 protected:
  explicit Model(config::ModelConfig config);
  config::ModelConfig config_;

 private:
  std::function<std::string()> make_fingerprint_;
  mutable std::once_flag fingerprint_made_;
  mutable std::string fingerprint_;
  uint64_t serial_;
};

}  // namespace genkit::models

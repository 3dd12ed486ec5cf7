#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/ops/steer.h"
#include "genkit/steering/positions.h"
#include "genkit/steering/schedule.h"
#include "genkit/steering/store.h"
#include "genkit/steering/vector.h"

namespace genkit::steering {

/// What is done with the direction v at a position; u is v / |v|, a the coefficient there.
enum class SteerMode : uint8_t {
  kAdd,          ///< x + a v
  kAddKeepNorm,  ///< the same, scaled back to the length of x
  kProject,      ///< (1 - a) x + a (x.u) u: with a = 1 the projection onto the direction
  kAblate,       ///< x - a (x.u) u: with a = 1 the direction is gone
};

/// Acts only where the stream points a certain way: cos(x, direction) > threshold, or < threshold.
/// x is the stream at the same layer and position, as the hooks before this one left it.
struct Condition {
  SteeringVector direction;
  double threshold = 0;
  bool below = false;
};

/// What to do with a model that gives no access to its blocks.
enum class OnMissingSite : uint8_t {
  kLogitBias,  ///< add alpha * (W_out v) to the logits instead, and warn once
  kFail,
};

struct HookOptions {
  Positions positions = {};
  /// Only these rows of a batch, by their number (models::RowSpan::row); nothing: all.
  std::optional<std::set<int64_t>> rows = {};
};

struct InjectionOptions {
  SteerMode mode = SteerMode::kAdd;
  Positions positions = {};
  std::optional<std::set<int64_t>> rows = {};
  std::optional<AlphaUnit> unit = {};  ///< nothing: the vector's own; only for the adding modes
  std::optional<Condition> condition = {};
  OnMissingSite on_missing = OnMissingSite::kLogitBias;
  /// Gets the warning of a fallback; nothing: standard error.
  std::function<void(const std::string&)> warn = {};
};

/// What all steering hooks share. A hook belongs to one model at a time; it may be used by several
/// threads over that model. It finds out about the model (layers, sizes) in prepare(), which every
/// forward pass calls.
class SteeringHook : public models::ForwardHook {
 public:
  void prepare(const models::Model& model) final;
  /// What the hook does at a place, for a graph node that does it together with others; nothing where
  /// it does nothing to any token of this pass.
  virtual std::optional<ops::SteerStep> step(models::Site site, const models::ForwardInput& input) const = 0;
  mx::array apply(models::Site site, int layer, const mx::array& x,
                  const models::ForwardInput& input) override;
  uint64_t revision() const final { return version(); }

 protected:
  /// Holds the hook against the model. Called under a lock, when the model or version() changes.
  virtual void bind(const models::Model& model) = 0;
  virtual uint64_t version() const { return 0; }

 private:
  std::mutex mutex_;
  uint64_t model_ = 0;  ///< Model::serial() of the one that the hook is bound to
  uint64_t bound_version_ = 0;
};

/// Adds alpha(step) * v to the output of a decoder block, after its residual additions: the place of
/// a torch forward hook on the block. What is added stays in the keys and values of later blocks.
/// With alpha 0 nothing is built, and the result is bit-identical to having no hook.
/// @source Turner et al. 2023 (activation addition); Zou et al. 2023 (representation engineering);
///         ablation: Arditi et al. 2024; conditions: Lee et al. 2024 (conditional activation steering).
class ResidualInjectionHook : public SteeringHook {
 public:
  /// @param layer_idx block, from 0, or from the end: -1 is the last.
  /// @throws ArgumentError for a vector that is not [hidden] finite numbers; when used, for a layer
  ///         or a vector that the model does not have room for.
  ResidualInjectionHook(int layer_idx, VectorRef vector, Schedule schedule, InjectionOptions options = {});
  /// At the layer that the vector says. @throws ArgumentError where it says none.
  ResidualInjectionHook(VectorRef vector, Schedule schedule, InjectionOptions options = {});

  bool wants(models::Site site, int layer) const override;
  std::optional<ops::SteerStep> step(models::Site site, const models::ForwardInput& input) const override;
  /// All of a row where the block is the last: nothing behind it keeps keys and values.
  int untouched(int64_t row, int prompt_length) const override;
  int mark(const models::RowSpan& row, std::span<models::KvMark> marks) const override;
  int layer_idx() const { return layer_idx_; }

 protected:
  void bind(const models::Model& model) override;
  uint64_t version() const override { return vector_.version(); }

 private:
  void check_numbers() const;
  mx::array direction(const SteeringVector& vector) const;
  uint64_t identity() const;

  int layer_idx_;
  VectorRef vector_;
  Schedule schedule_;
  InjectionOptions options_;
  // What bind() found.
  bool last_block_ = false;
  int layer_ = -1;                            ///< counted from 0
  bool falls_back_ = false, warned_ = false;  ///< to the logit bias
  std::optional<mx::array> direction_;        ///< [hidden], or of the fallback [vocab]
  std::optional<mx::array> condition_;        ///< [hidden], of length 1
  uint64_t identity_ = 0;                     ///< of all that it does but for the coefficients
};

/// Adds alpha(step) * (W_out v) to the final logits (after any scaling and capping), with W_out the
/// output embedding [vocab, hidden] as the file has it: tied or not, quantised or not; the product is
/// computed once, in fp32.
class LogitBiasHook : public SteeringHook {
 public:
  /// @throws ArgumentError as ResidualInjectionHook. The unit must be absolute or recorded.
  LogitBiasHook(VectorRef vector, Schedule alpha, HookOptions options = {});

  bool wants(models::Site site, int layer) const override;
  std::optional<ops::SteerStep> step(models::Site site, const models::ForwardInput& input) const override;
  /// All of them: logits leave no trace in the cache.
  int untouched(int64_t, int) const override { return std::numeric_limits<int>::max(); }

 protected:
  void bind(const models::Model& model) override;
  uint64_t version() const override { return vector_.version(); }

 private:
  VectorRef vector_;
  Schedule schedule_;
  HookOptions options_;
  std::optional<mx::array> bias_;  ///< [vocab]
};

/// Virtual tokens in front of every row: embeddings that no token has. They take the positions from 0
/// on, and the prompt follows. Generation feeds placeholders for them (prefix_tokens()) that no
/// processor and no result sees; a forward pass by hand begins its rows with that many tokens of any id.
/// The embeddings stand for what the embedding table returns, before scaling and learned positions.
/// @source Lester et al. 2021 (prompt tuning).
class SoftPromptHook : public models::ForwardHook {
 public:
  /// @param embeddings [tokens, hidden] floating point. @throws ArgumentError for another shape, or
  ///        for numbers that are not finite.
  explicit SoftPromptHook(const mx::array& embeddings, std::optional<std::set<int64_t>> rows = {});
  SoftPromptHook(std::shared_ptr<const VectorStore> store, std::string param_key,
                 std::optional<std::set<int64_t>> rows = {});

  void prepare(const models::Model& model) override;
  bool wants(models::Site site, int layer) const override;
  mx::array apply(models::Site site, int layer, const mx::array& x,
                  const models::ForwardInput& input) override;
  int prefix_tokens(int64_t row) const override;
  int untouched(int64_t row, int prompt_length) const override;
  int mark(const models::RowSpan& row, std::span<models::KvMark> marks) const override;
  uint64_t revision() const override { return store_->version(); }

 private:
  const mx::array& embeddings() const;
  std::shared_ptr<const VectorStore> store_;
  std::string key_;
  std::optional<std::set<int64_t>> rows_;
};

/// Several hooks as one, acting in the order of the list. What they do at one place is one graph node,
/// bit-identical to the hooks one by one.
class SteeringSet : public models::ForwardHook {
 public:
  SteeringSet() = default;
  explicit SteeringSet(std::vector<std::shared_ptr<SteeringHook>> hooks) : hooks_(std::move(hooks)) {}
  void add(std::shared_ptr<SteeringHook> hook) { hooks_.push_back(std::move(hook)); }
  bool empty() const { return hooks_.empty(); }

  void prepare(const models::Model& model) override;
  bool wants(models::Site site, int layer) const override;
  mx::array apply(models::Site site, int layer, const mx::array& x,
                  const models::ForwardInput& input) override;
  int untouched(int64_t row, int prompt_length) const override;
  int mark(const models::RowSpan& row, std::span<models::KvMark> marks) const override;
  uint64_t revision() const override;

 private:
  std::vector<std::shared_ptr<SteeringHook>> hooks_;
};

}  // namespace genkit::steering

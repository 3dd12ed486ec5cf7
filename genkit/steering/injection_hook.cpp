#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "genkit/base/byte_hash.h"
#include "genkit/base/error.h"
#include "genkit/steering/hook_parts.h"
#include "genkit/steering/hooks.h"

namespace genkit::steering {
namespace {

constexpr const char* kName = "ResidualInjectionHook";

bool adds(SteerMode mode) { return mode == SteerMode::kAdd || mode == SteerMode::kAddKeepNorm; }

int layer_of(const SteeringVector& vector) {
  if (!vector.layer) throw ArgumentError(fmt::format("{}: layer_idx: the vector says none", kName));
  if (vector.site != models::Site::kBlock)
    throw ArgumentError(fmt::format("{}: layer_idx: the vector is not of a block's output, but of {}", kName,
                                    to_string(vector.site)));
  return *vector.layer;
}

ops::SteerOp op_of(SteerMode mode) {
  switch (mode) {
    case SteerMode::kAdd:
      return ops::SteerOp::kAdd;
    case SteerMode::kAddKeepNorm:
      return ops::SteerOp::kAddKeepNorm;
    case SteerMode::kProject:
      return ops::SteerOp::kProject;
    case SteerMode::kAblate:
      return ops::SteerOp::kAblate;
  }
  return ops::SteerOp::kAdd;
}

}  // namespace

ResidualInjectionHook::ResidualInjectionHook(int layer_idx, VectorRef vector, Schedule schedule,
                                             InjectionOptions options)
    : layer_idx_(layer_idx),
      vector_(std::move(vector)),
      schedule_(std::move(schedule)),
      options_(std::move(options)) {
  check_numbers();
  if (!options_.condition) return;
  Condition& condition = *options_.condition;
  condition.direction = checked(std::move(condition.direction));
  if (!(std::abs(condition.threshold) <= 1))
    throw ArgumentError(
        fmt::format("{}: threshold: expected a cosine in [-1, 1], got {}", kName, condition.threshold));
  const double length = norm(condition.direction);
  if (length == 0) throw ArgumentError(fmt::format("{}: condition: its direction is zero", kName));
  condition_ = detail::scaled(condition.direction, 1 / length);
}

ResidualInjectionHook::ResidualInjectionHook(VectorRef vector, Schedule schedule, InjectionOptions options)
    : ResidualInjectionHook(layer_of(vector.get()), vector, std::move(schedule), std::move(options)) {}

void ResidualInjectionHook::check_numbers() const {
  const SteeringVector& v = vector_.get();
  const AlphaUnit unit = options_.unit.value_or(v.unit);
  if (!adds(options_.mode)) {
    if (options_.unit && unit != AlphaUnit::kAbsolute)
      throw ArgumentError(
          fmt::format("{}: unit {}: only adding has units; alpha is a share when projecting and ablating",
                      kName, to_string(unit)));
    if (norm(v) == 0) throw ArgumentError(fmt::format("{}: the vector is zero and has no direction", kName));
    return;
  }
  if (unit == AlphaUnit::kRecordedNorm) detail::recorded_norm(kName, v);
}

/// What the kernel multiplies the coefficient with: v itself where alpha is absolute, so that nothing
/// is rounded before the product; else of length 1, times the recorded length where that is the unit.
mx::array ResidualInjectionHook::direction(const SteeringVector& v) const {
  const AlphaUnit unit = adds(options_.mode) ? options_.unit.value_or(v.unit) : AlphaUnit::kResidualNorm;
  if (unit == AlphaUnit::kAbsolute) return detail::scaled(v, 1);
  const double length = norm(v);
  if (length == 0) return v.values;
  return detail::scaled(v,
                        (unit == AlphaUnit::kRecordedNorm ? detail::recorded_norm(kName, v) : 1.0) / length);
}

void ResidualInjectionHook::bind(const models::Model& model) {
  check_numbers();  // what a store holds may have changed
  const SteeringVector& v = vector_.get();
  detail::check_hidden(kName, v.values.size(), model);
  if (condition_) detail::check_hidden(std::string(kName) + ": condition", condition_->size(), model);
  falls_back_ = !model.has_site(models::Site::kBlock);
  if (!falls_back_) {
    const int blocks = model.components().num_blocks;
    if (layer_idx_ < -blocks || layer_idx_ >= blocks)
      throw ArgumentError(fmt::format("{}: layer_idx: the model has {} blocks, so {} to {}, got {}", kName,
                                      blocks, -blocks, blocks - 1, layer_idx_));
    layer_ = layer_idx_ < 0 ? layer_idx_ + blocks : layer_idx_;
    last_block_ = layer_ + 1 == blocks;
    direction_ = direction(v);
    identity_ = identity();
    return;
  }
  if (options_.on_missing == OnMissingSite::kFail)
    throw ArgumentError(fmt::format("{}: the model gives no access to its blocks", kName));
  const bool relative = options_.unit.value_or(v.unit) == AlphaUnit::kResidualNorm;
  if (options_.mode != SteerMode::kAdd || condition_ || relative)
    throw ArgumentError(fmt::format(
        "{}: the model gives no access to its blocks, and a logit bias cannot stand in for {}", kName,
        condition_ ? "a condition"
        : relative ? "alpha in lengths of the stream"
                   : "anything but adding"));
  direction_ = detail::logit_bias(kName, direction(v), model);
  if (warned_) return;
  warned_ = true;
  const std::string text = fmt::format(
      "{}: the model gives no access to its blocks; adding alpha * (W_out v) to the logits instead", kName);
  if (options_.warn) {
    options_.warn(text);
  } else {
    std::fprintf(stderr, "warning: %s\n", text.c_str());
  }
}

bool ResidualInjectionHook::wants(models::Site site, int layer) const {
  if (schedule_.is_zero()) return false;
  return falls_back_ ? site == models::Site::kLogits : site == models::Site::kBlock && layer == layer_;
}

int ResidualInjectionHook::untouched(int64_t row, int prompt_length) const {
  if (falls_back_ || last_block_) return std::numeric_limits<int>::max();
  return first_steered(schedule_, options_.positions, options_.rows, row, prompt_length);
}

uint64_t ResidualInjectionHook::identity() const {
  ByteHash hash;
  hash.add("ResidualInjectionHook");
  hash.add(static_cast<uint64_t>(layer_));
  hash.add(static_cast<uint64_t>(options_.mode));
  hash.add(static_cast<uint64_t>(options_.unit.value_or(vector_.get().unit)));
  hash.add(direction_->data<float>(), direction_->size() * sizeof(float));
  if (condition_) {
    const float threshold = static_cast<float>(options_.condition->threshold);
    hash.add(condition_->data<float>(), condition_->size() * sizeof(float));
    hash.add(&threshold, sizeof threshold);
    hash.add(uint64_t{options_.condition->below});
  }
  return hash.number();
}

int ResidualInjectionHook::mark(const models::RowSpan& row, std::span<models::KvMark> marks) const {
  constexpr int kAll = std::numeric_limits<int>::max();
  if (untouched(row.row, row.prompt_length) == kAll) return kAll;
  models::ForwardInput input;
  input.rows = {row};
  const std::vector<float> a = coefficients(schedule_, options_.positions, options_.rows, input);
  for (size_t p = 0; p < marks.size(); ++p) {
    if (a[p] != 0) marks[p] = detail::mixed(marks[p], identity_, a[p]);
  }
  return kAll;
}

std::optional<ops::SteerStep> ResidualInjectionHook::step(models::Site,
                                                          const models::ForwardInput& input) const {
  std::vector<float> a = coefficients(schedule_, options_.positions, options_.rows, input);
  if (falls_back_) return detail::logit_step(*direction_, a, input);
  if (std::all_of(a.begin(), a.end(), [](float c) { return c == 0; })) return {};
  ops::SteerStep step;
  step.op = op_of(options_.mode);
  step.direction = *direction_;
  step.coefficients = std::move(a);
  step.relative =
      adds(options_.mode) && options_.unit.value_or(vector_.get().unit) == AlphaUnit::kResidualNorm;
  step.condition = condition_;
  if (options_.condition) {
    step.threshold = static_cast<float>(options_.condition->threshold);
    step.below = options_.condition->below;
  }
  return step;
}

}  // namespace genkit::steering

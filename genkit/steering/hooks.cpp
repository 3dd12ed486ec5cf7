#include "genkit/steering/hooks.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>

#include "genkit/base/byte_hash.h"
#include "genkit/base/error.h"
#include "genkit/ops/linear.h"
#include "genkit/steering/hook_parts.h"

namespace genkit::steering {

namespace detail {

void check_hidden(const std::string& hook, size_t size, const models::Model& model) {
  const int hidden = model.config().hidden_size;
  if (size != static_cast<size_t>(hidden))
    throw ArgumentError(
        fmt::format("{}: the vector has {} values, the model's stream {}", hook, size, hidden));
}

float recorded_norm(const std::string& hook, const SteeringVector& vector) {
  if (!vector.residual_norm)
    throw ArgumentError(fmt::format("{}: unit recorded: the vector does not say its residual_norm", hook));
  return *vector.residual_norm;
}

mx::array scaled(const SteeringVector& vector, double factor) {
  mx::array out =
      factor == 1.0 ? vector.values : mx::multiply(vector.values, mx::array(static_cast<float>(factor)));
  out.eval();
  return out;
}

mx::array logit_bias(const std::string& hook, const mx::array& v, const models::Model& model) {
  const models::Components parts = model.components();
  if (!parts.head) throw ArgumentError(fmt::format("{}: the model does not show its output embedding", hook));
  ops::Weight head = *parts.head;
  head.arithmetic = ops::Arithmetic::kExact;
  mx::array bias = mx::flatten(ops::linear(mx::reshape(v, {1, static_cast<int>(v.size())}), head));
  bias = mx::contiguous(mx::astype(bias, mx::float32));
  bias.eval();
  return bias;
}

std::optional<ops::SteerStep> logit_step(const mx::array& bias, const std::vector<float>& coefficients,
                                         const models::ForwardInput& input) {
  ops::SteerStep step;
  bool acts = false;
  for (const int token : tokens_with_logits(input)) {
    step.coefficients.push_back(coefficients[static_cast<size_t>(token)]);
    acts |= step.coefficients.back() != 0;
  }
  if (!acts) return {};
  step.direction = bias;
  return step;
}

models::KvMark mixed(models::KvMark mark, uint64_t identity, float coefficient) {
  ByteHash hash;
  hash.add(mark);
  hash.add(identity);
  hash.add(&coefficient, sizeof coefficient);
  return std::max<models::KvMark>(hash.number(), 1);
}

}  // namespace detail

void SteeringHook::prepare(const models::Model& model) {
  const std::scoped_lock lock(mutex_);
  if (model_ == model.serial() && bound_version_ == version()) return;
  model_ = 0;
  bind(model);
  model_ = model.serial();
  bound_version_ = version();
}

mx::array SteeringHook::apply(models::Site site, int, const mx::array& x, const models::ForwardInput& input) {
  const auto one = step(site, input);
  return one ? ops::steer(x, {*one}) : x;
}

LogitBiasHook::LogitBiasHook(VectorRef vector, Schedule alpha, HookOptions options)
    : vector_(std::move(vector)), schedule_(std::move(alpha)), options_(std::move(options)) {
  const SteeringVector& v = vector_.get();
  if (v.unit == AlphaUnit::kResidualNorm)
    throw ArgumentError("LogitBiasHook: unit residual: there is no stream at the logits to measure");
  if (v.unit == AlphaUnit::kRecordedNorm) detail::recorded_norm("LogitBiasHook", v);
}

void LogitBiasHook::bind(const models::Model& model) {
  const SteeringVector& v = vector_.get();
  detail::check_hidden("LogitBiasHook", v.values.size(), model);
  const double length = norm(v);
  const bool recorded = v.unit == AlphaUnit::kRecordedNorm && length > 0;
  const double factor = recorded ? detail::recorded_norm("LogitBiasHook", v) / length : 1.0;
  bias_ = detail::logit_bias("LogitBiasHook", detail::scaled(v, factor), model);
}

bool LogitBiasHook::wants(models::Site site, int) const {
  return site == models::Site::kLogits && !schedule_.is_zero();
}

std::optional<ops::SteerStep> LogitBiasHook::step(models::Site, const models::ForwardInput& input) const {
  return detail::logit_step(*bias_, coefficients(schedule_, options_.positions, options_.rows, input), input);
}

void SteeringSet::prepare(const models::Model& model) {
  for (const auto& hook : hooks_) hook->prepare(model);
}

bool SteeringSet::wants(models::Site site, int layer) const {
  return std::any_of(hooks_.begin(), hooks_.end(),
                     [&](const auto& hook) { return hook->wants(site, layer); });
}

int SteeringSet::untouched(int64_t row, int prompt_length) const {
  int least = std::numeric_limits<int>::max();
  for (const auto& hook : hooks_) least = std::min(least, hook->untouched(row, prompt_length));
  return least;
}

int SteeringSet::mark(const models::RowSpan& row, std::span<models::KvMark> marks) const {
  int known = std::numeric_limits<int>::max();
  for (const auto& hook : hooks_) known = std::min(known, hook->mark(row, marks));
  return known;
}

uint64_t SteeringSet::revision() const {
  uint64_t sum = 0;
  for (const auto& hook : hooks_) sum += hook->revision();
  return sum;
}

mx::array SteeringSet::apply(models::Site site, int layer, const mx::array& x,
                             const models::ForwardInput& input) {
  std::vector<ops::SteerStep> steps;
  for (const auto& hook : hooks_) {
    if (!hook->wants(site, layer)) continue;
    if (auto step = hook->step(site, input)) steps.push_back(std::move(*step));
  }
  return steps.empty() ? x : ops::steer(x, steps);
}

}  // namespace genkit::steering

#include "genkit/nn/rope.h"

#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace genkit::nn {
namespace {

using config::RopeConfig;
using config::RopeType;

/// theta^(2i / dims), rounded where torch rounds: the exponent and the power are float32.
float power(double theta, int i, int dims) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
  return static_cast<float>(
      std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
}

std::vector<float> plain(double theta, int dims) {
  std::vector<float> out(dims / 2);
  for (int i = 0; i < dims / 2; ++i) out[i] = 1.0f / power(theta, i, dims);
  return out;
}

/// @source "NTK-aware" scaling: the base grows with the length once that passes the trained one.
double dynamic_theta(const RopeConfig& c, int length) {
  const double seq = std::max(length, c.max_position_embeddings);
  const double stretch = c.factor * seq / c.max_position_embeddings - (c.factor - 1.0);
  return c.theta * std::pow(stretch, static_cast<double>(c.dims) / (c.dims - 2));
}

/// @source Llama 3.1: long wavelengths are divided by `factor`, short ones kept, blended between.
std::vector<float> llama3(const RopeConfig& c) {
  std::vector<float> out = plain(c.theta, c.dims);
  const double context = c.original_max_position_embeddings;
  const double low_wavelength = context / c.low_freq_factor;
  const double high_wavelength = context / c.high_freq_factor;
  for (float& f : out) {
    const double wavelength = 2.0 * std::numbers::pi / f;
    if (wavelength > low_wavelength) {
      f = static_cast<float>(f / c.factor);
    } else if (wavelength >= high_wavelength) {
      const double smooth =
          (context / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
      f = static_cast<float>((1.0 - smooth) * f / c.factor + smooth * f);
    }
  }
  return out;
}

/// @source Peng et al. 2023 (YaRN), section 3.2: a ramp over the dimensions between interpolation
/// and extrapolation.
std::vector<float> yarn(const RopeConfig& c) {
  const double context = c.original_max_position_embeddings;
  const auto dimension_of = [&](double rotations) {
    return c.dims * std::log(context / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(c.theta));
  };
  double low = dimension_of(c.beta_fast), high = dimension_of(c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, c.dims - 1.0);
  if (low == high) high += 0.001;
  std::vector<float> out(c.dims / 2);
  for (int i = 0; i < c.dims / 2; ++i) {
    const float p = power(c.theta, i, c.dims);
    const float extrapolation = 1.0f / p;
    const float interpolation = 1.0f / (static_cast<float>(c.factor) * p);
    const float ramp = static_cast<float>(std::clamp((i - low) / (high - low), 0.0, 1.0));
    out[i] = interpolation * ramp + extrapolation * (1.0f - ramp);
  }
  return out;
}

/// @source Ding et al. 2024 (LongRoPE): a divisor for every pair.
std::vector<float> longrope(const RopeConfig& c, const std::vector<double>& factors) {
  std::vector<float> out(c.dims / 2);
  for (int i = 0; i < c.dims / 2; ++i) {
    out[i] = 1.0f / (static_cast<float>(factors[i]) * power(c.theta, i, c.dims));
  }
  return out;
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double scaling_of(const RopeConfig& c) {
  if (c.type != RopeType::kYarn && c.type != RopeType::kLongRope) return 1.0;
  if (c.attention_factor) return *c.attention_factor;
  if (c.type == RopeType::kLongRope) {
    if (c.factor <= 1.0) return 1.0;
    return std::sqrt(1.0 + std::log(c.factor) / std::log(c.original_max_position_embeddings));
  }
  // Zero counts as unset, as in Python.
  if (c.mscale.value_or(0.0) != 0.0 && c.mscale_all_dim.value_or(0.0) != 0.0) {
    return yarn_scale(c.factor, *c.mscale) / yarn_scale(c.factor, *c.mscale_all_dim);
  }
  return yarn_scale(c.factor, 1.0);
}

}  // namespace

Rope::Rope(const RopeConfig& config, bool interleaved)
    : config_(config), interleaved_(interleaved), attention_scaling_(static_cast<float>(scaling_of(config))) {
  base_ = params(0);
  if (config_.type == RopeType::kLongRope) long_ = params(config_.original_max_position_embeddings + 1);
}

std::vector<float> Rope::inv_freq(int length) const {
  switch (config_.type) {
    case RopeType::kDefault:
      return plain(config_.theta, config_.dims);
    case RopeType::kLinear: {
      std::vector<float> out = plain(config_.theta, config_.dims);
      for (float& f : out) f /= static_cast<float>(config_.factor);
      return out;
    }
    case RopeType::kDynamic:
      return plain(dynamic_theta(config_, length), config_.dims);
    case RopeType::kLlama3:
      return llama3(config_);
    case RopeType::kYarn:
      return yarn(config_);
    case RopeType::kLongRope:
      return longrope(config_, length > config_.original_max_position_embeddings ? config_.long_factor
                                                                                 : config_.short_factor);
  }
  return {};
}

ops::RopeParams Rope::params(int length) const {
  const std::vector<float> frequencies = inv_freq(length);
  ops::RopeParams p;
  p.inv_freq = mx::array(frequencies.begin(), mx::Shape{static_cast<int>(frequencies.size())}, mx::float32);
  p.attention_scaling = attention_scaling_;
  p.interleaved = interleaved_;
  return p;
}

int Rope::length_class(int length) const {
  switch (config_.type) {
    case RopeType::kDynamic:
      return length > config_.max_position_embeddings ? length : 0;
    case RopeType::kLongRope:
      return length > config_.original_max_position_embeddings ? 1 : 0;
    default:
      return 0;
  }
}

int Rope::rotated_alike(int a, int b, int length) const {
  if (config_.type != RopeType::kDynamic && config_.type != RopeType::kLongRope) return length;
  for (int p = 0; p < length; ++p) {
    if (length_class(std::max(a, p + 1)) != length_class(std::max(b, p + 1))) return p;
  }
  return length;
}

std::vector<RopeRun> Rope::runs(const Positions& positions) const {
  std::vector<RopeRun> out;
  const auto add = [&](int tokens, int length) {
    if (!out.empty() && length_class(out.back().length) == length_class(length)) {
      out.back().end += tokens;
    } else {
      const int begin = out.empty() ? 0 : out.back().end;
      out.push_back({begin, begin + tokens, length});
    }
  };
  if (config_.type != RopeType::kDynamic && config_.type != RopeType::kLongRope) {
    return {{0, positions.ids.shape(0), 0}};
  }
  for (const RopeSpan& span : positions.spans) {
    const int total = span.position + span.length;
    if (positions.batch_length) {
      add(span.length, *positions.batch_length);
    } else if (span.rope_length == 0 || span.rope_length >= total) {
      add(span.length, std::max(span.rope_length, total));
    } else {
      for (int p = span.position; p < total; ++p) add(1, std::max(span.rope_length, p + 1));
    }
  }
  return out;
}

ops::RopeParams Rope::params_for(int length) const {
  if (length_class(length) == 0) return base_;
  return long_ ? *long_ : params(length);
}

mx::array Rope::operator()(const mx::array& x, const Positions& positions) const {
  const std::vector<RopeRun> cuts = runs(positions);
  if (cuts.size() == 1) return ops::rope(x, positions.ids, params_for(cuts[0].length));
  std::vector<mx::array> parts;
  for (const RopeRun& run : cuts) {
    const mx::array ids = mx::slice(positions.ids, {run.begin}, {run.end});
    const mx::array part = mx::slice(x, {run.begin, 0, 0}, {run.end, x.shape(1), x.shape(2)});
    parts.push_back(ops::rope(part, ids, params_for(run.length)));
  }
  return mx::concatenate(parts, 0);
}

}  // namespace genkit::nn

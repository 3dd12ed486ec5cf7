#include "genkit/io/gguf_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::io {
namespace {

using nlohmann::json;

constexpr const char* kFrequencies = "rope_freqs.weight";
constexpr const char* kLong = "rope_factors_long.weight";
constexpr const char* kShort = "rope_factors_short.weight";

double shortest(double value) {
  return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
}

// What the frequency of one pair is divided by under llama3's rule.
// @source transformers 5.23 modeling_rope_utils.py, _compute_llama3_parameters
double llama3_divisor(double wavelength, double factor, double low, double high, double context) {
  if (wavelength < context / high) return 1.0;
  if (wavelength > context / low) return factor;
  const double smooth = (context / wavelength - low) / (high - low);
  return 1.0 / ((1.0 - smooth) / factor + smooth);
}

}  // namespace

std::optional<double> GgufRope::number(std::string_view name) const {
  const auto value = file_.find_number(key(name));
  return value ? std::optional(shortest(*value)) : std::nullopt;
}

json GgufRope::scaling() const {
  const json stated = from_type();
  if (!set_.has(kFrequencies)) return stated;
  const auto divisors = factors(kFrequencies);
  if (std::all_of(divisors.begin(), divisors.end(), [](double d) { return d == 1.0; })) return stated;
  if (!stated.is_null()) file_.fail(kFrequencies, "factors of frequencies together with rope.scaling");
  return from_frequencies();
}

json GgufRope::from_type() const {
  if (set_.has(kLong) || set_.has(kShort)) return long_and_short();
  const auto type = file_.find_string(key("type"));
  if (!type) {
    const auto old = file_.find_number(prefix_ + "rope.scale_linear");
    if (!old || *old == 1.0) return nullptr;
    return {{"rope_type", "linear"}, {"factor", shortest(*old)}};
  }
  if (*type == "none") return nullptr;
  if (*type == "linear") {
    const double factor = number("factor").value_or(1.0);
    if (factor == 1.0) return nullptr;
    return {{"rope_type", "linear"}, {"factor", factor}};
  }
  if (*type == "yarn") return yarn();
  // Short models say longrope and have no factors.
  if (*type == "longrope") return nullptr;
  file_.fail(key("type"),
             fmt::format("\"{}\" is not supported; none, linear, yarn and longrope are", printable(*type)));
}

json GgufRope::yarn() const {
  const auto factor = number("factor");
  if (!factor) file_.fail(key("factor"), "missing");
  if (number("yarn_ext_factor").value_or(1.0) != 1.0) {
    file_.fail(key("yarn_ext_factor"), "only 1 is supported");
  }
  json out = {{"rope_type", "yarn"}, {"factor", *factor}};
  if (const auto context = file_.find_integer(key("original_context_length"))) {
    out["original_max_position_embeddings"] = *context;
  }
  if (const auto value = number("yarn_beta_fast")) out["beta_fast"] = *value;
  if (const auto value = number("yarn_beta_slow")) out["beta_slow"] = *value;
  if (const auto value = number("yarn_attn_factor")) out["attention_factor"] = *value;
  return out;
}

std::vector<double> GgufRope::factors(std::string_view tensor) const {
  const auto floats = set_.floats(tensor);
  if (floats.size() != size_t(rotated_) / 2) {
    file_.fail(tensor, fmt::format("{} factors for {} rotated numbers of a head", floats.size(), rotated_));
  }
  std::vector<double> out;
  for (const float f : floats) {
    if (!std::isfinite(f) || f <= 0) file_.fail(tensor, fmt::format("expected factors above 0, got {}", f));
    out.push_back(shortest(f));
  }
  return out;
}

json GgufRope::long_and_short() const {
  json out = {{"rope_type", "longrope"}, {"long_factor", factors(kLong)}, {"short_factor", factors(kShort)}};
  const auto context = file_.find_integer(key("original_context_length"));
  if (!context) file_.fail(key("original_context_length"), "missing");
  if (*context < 2) file_.fail(key("original_context_length"), fmt::format("got {}", *context));
  out["original_max_position_embeddings"] = *context;
  // The converter writes what transformers works out anyway; anything else is an intention.
  const double scale = config_.at("max_position_embeddings").get<double>() / double(*context);
  const double usual = scale > 1 ? std::sqrt(1 + std::log(scale) / std::log(double(*context))) : 1.0;
  if (const auto stated = number("attn_factor"); stated && std::abs(*stated - usual) > 1e-6 * usual) {
    out["attention_factor"] = *stated;
  }
  return out;
}

json GgufRope::from_frequencies() const {
  const auto divisors = factors(kFrequencies);
  const double theta = config_.at("rope_theta").get<double>();
  const double factor = *std::max_element(divisors.begin(), divisors.end());
  // The parameters of every published Llama 3; only `factor` differs among them.
  constexpr double kLow = 1.0, kHigh = 4.0, kContext = 8192;
  bool llama3 = true;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, 2.0 * double(i) / rotated_);
    const double expected = llama3_divisor(wavelength, factor, kLow, kHigh, kContext);
    llama3 = llama3 && std::abs(divisors[i] - expected) < 1e-4 * expected;
  }
  if (llama3) {
    return {{"rope_type", "llama3"},
            {"factor", factor},
            {"low_freq_factor", kLow},
            {"high_freq_factor", kHigh},
            {"original_max_position_embeddings", int(kContext)}};
  }
  // Any other rule: its outcome is known, which longrope can state number by number.
  return {{"rope_type", "longrope"},
          {"long_factor", divisors},
          {"short_factor", divisors},
          {"attention_factor", 1.0},
          {"original_max_position_embeddings", config_.at("max_position_embeddings")}};
}

}  // namespace genkit::io

// Warpers that other libraries have: exclude top choices, dynamic temperature, mirostat.

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "genkit/logits/choose.h"
#include "genkit/logits/mass.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

class Xtc : public Processor {
 public:
  Xtc(double probability, double threshold, const DrawKey& key, int padding)
      : probability_(probability), threshold_(threshold), key_(key), padding_(padding) {
    // Draws of its own: the choice of the token must not depend on whether the warper acted.
    constexpr uint64_t kStream = 0x5854435F64726177;
    key_.seed ^= kStream;
  }
  std::string_view name() const override { return "XtcWarper"; }
  void apply(const Context& context, Scores& scores) const override {
    DrawKey key = key_;
    key.step = context.ids.size() - static_cast<size_t>(padding_);
    if (uniform(key) >= probability_) return;
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return;
    const double border = norm + std::log(threshold_);
    if (worth_selecting(scores)) return leave_last_of_vocabulary(scores, border);
    int32_t last = -1;  // the least probable of those above the border; of tied ones the highest id
    int above = 0;
    scores.for_each([&](int32_t id, float score) {
      if (!(score > kRemoved) || score < border) return;
      ++above;
      if (last < 0 || score <= std::as_const(scores).values()[last]) last = id;
    });
    if (above < 2) return;
    scores.keep_if([&](int32_t id, float score) { return id == last || score < border; });
  }

 private:
  /// The same where few are above the border, and nothing else is touched.
  static void leave_last_of_vocabulary(Scores& scores, double border) {
    const std::vector<int32_t> near = ids_above(scores, a_little_below(border));
    const std::span<float> values = scores.values();
    int32_t last = -1;
    for (const int32_t id : near) {
      if (values[id] >= border && (last < 0 || values[id] <= values[last])) last = id;
    }
    for (const int32_t id : near) {
      if (values[id] >= border && id != last) values[id] = kRemoved;
    }
  }

  double probability_, threshold_;
  DrawKey key_;
  int padding_;
};

class DynamicTemperature : public Processor {
 public:
  DynamicTemperature(double temperature, double range, double exponent)
      : least_(std::max(0.0, temperature - range)), most_(temperature + range), exponent_(exponent) {}
  std::string_view name() const override { return "DynamicTemperatureWarper"; }
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return;
    int count = 0;
    scores.for_each([&](int32_t, float score) { count += score > kRemoved; });
    if (count < 2) return;
    const double share = std::clamp(entropy(scores, norm) / std::log(static_cast<double>(count)), 0.0, 1.0);
    const double temperature = least_ + (most_ - least_) * std::pow(share, exponent_);
    // Below that scores would leave the range of their type, and one token has everything anyway.
    constexpr double kColdest = 1e-6;
    if (temperature > kColdest) {
      const auto divisor = static_cast<float>(temperature);
      divide(scores, divisor);
    } else {
      const int32_t best = argmax(scores);
      scores.keep_if([best](int32_t id, float) { return id == best; });
    }
  }

 private:
  double least_, most_, exponent_;
};

class Mirostat : public Processor {
 public:
  Mirostat(double tau, double eta) : tau_(tau), eta_(eta), most_(2 * tau) {}
  std::string_view name() const override { return "MirostatWarper"; }
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return;
    const double border = norm - most_ * std::numbers::ln2;
    const int32_t best = argmax(scores);
    if (worth_selecting(scores)) {
      const float top = scores.maxima().top;
      std::vector<int32_t> ids = ids_above(scores, a_little_below(std::min<double>(border, top)));
      std::erase_if(ids, [&, values = std::as_const(scores).values()](int32_t id) {
        return values[static_cast<size_t>(id)] < border && id != best;
      });
      return scores.keep_only(std::move(ids));
    }
    scores.keep_if([&](int32_t id, float score) { return score >= border || id == best; });
  }
  void observe(const Scores& scores, int32_t id) override {
    const double surprise =
        (log_sum_exp(scores) - scores.values()[static_cast<size_t>(id)]) / std::numbers::ln2;
    most_ -= eta_ * (surprise - tau_);
  }

 private:
  double tau_, eta_;
  double most_;  ///< surprise that a token may have, in bits; moves with what was drawn
};

}  // namespace

ProcessorPtr xtc(double probability, double threshold, const DrawKey& key, int padding) {
  return std::make_unique<Xtc>(probability, threshold, key, padding);
}

ProcessorPtr dynamic_temperature(double temperature, double range, double exponent) {
  return std::make_unique<DynamicTemperature>(temperature, range, exponent);
}

ProcessorPtr mirostat(double tau, double eta) { return std::make_unique<Mirostat>(tau, eta); }

}  // namespace genkit::logits

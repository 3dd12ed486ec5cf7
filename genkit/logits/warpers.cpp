#include <algorithm>
#include <cmath>
#include <optional>

#include "genkit/kernels/sampling.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

class Temperature : public Processor {
 public:
  explicit Temperature(double value) : value_(static_cast<float>(value)) {}
  std::string_view name() const override { return "TemperatureLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    scores.transform([this](int32_t, float score) { return score / value_; });
  }

 private:
  float value_;
};

/// The softmax over what is left, entry by entry, without what is removed.
std::vector<Weighted> distribution(const Scores& scores) {
  const double norm = log_sum_exp(scores);
  std::vector<Weighted> out;
  // NaN has no order, and infinity no distribution: the choice at the end of the chain says so.
  if (!std::isfinite(norm)) return out;
  out.reserve(scores.count());
  scores.for_each([&](int32_t id, float score) {
    if (score > kRemoved) out.push_back({score, std::exp(score - norm), id});
  });
  return out;
}

/// Of a whole vocabulary's ids those above a bound, with their probabilities; nothing where they are so many
/// that all may as well be looked at.
std::optional<std::vector<Weighted>> entries_above(const Scores& scores, double norm, float bound) {
  const auto n = static_cast<int64_t>(scores.count());
  const auto ids = kernels::indices_above(scores.values().data(), n, bound, n / 8);
  if (!ids) return {};
  std::vector<Weighted> out;
  out.reserve(ids->size());
  for (const int32_t id : *ids) {
    const float score = scores.values()[id];
    out.push_back({score, std::exp(score - norm), id});
  }
  return out;
}

double sum_of(const std::vector<Weighted>& entries) {
  double sum = 0;
  for (const Weighted& entry : entries) sum += entry.mass;
  return sum;
}

/// Within this, masses and scores that are rounded in different ways are not told apart.
constexpr double kMargin = 1e-5;
/// So that rounding to fp32 leaves out nothing that is not below.
float a_little_below(double score) { return static_cast<float>(score - kMargin * (1 + std::fabs(score))); }

/// What of the distribution a border between the best and the rest can lie in: the best that hold `mass` and
/// more, or everything.
std::vector<Weighted> best_of_mass(const Scores& scores, double mass) {
  if (!worth_selecting(scores)) return distribution(scores);
  const double norm = log_sum_exp(scores);
  if (!std::isfinite(norm)) return {};
  const float top = kth_largest(scores, 1);
  for (const float depth : {6.0f, 9.0f, 13.0f}) {
    const auto entries = entries_above(scores, norm, top - depth);
    if (!entries) break;
    if (sum_of(*entries) >= mass + kMargin) return *entries;
  }
  return distribution(scores);
}

/// Keeps exactly these ids.
void keep_only(Scores& scores, std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  scores.keep_only(std::move(ids));
}

class TopH : public Processor {
 public:
  explicit TopH(double share) : share_(share) {}
  std::string_view name() const override { return "TopHLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    constexpr int kConsidered = 100;  // as transformers: the rest of the distribution does not count
    const auto best = largest(scores.values(), kConsidered);
    double sum = 0;
    for (const auto& [id, score] : best) sum += std::exp(static_cast<double>(score) - best[0].second);
    const auto term = [&](float score) {
      const double p = std::exp(static_cast<double>(score) - best[0].second) / sum;
      return p > 0 ? -p * std::log(p) : 0.0;
    };
    double total = 0;
    for (const auto& [id, score] : best) total += term(score);
    std::vector<int32_t> kept;
    double passed = 0;
    for (const auto& [id, score] : best) {
      passed += term(score);
      if (!kept.empty() && (score == kRemoved || passed > total * share_)) break;
      kept.push_back(id);
    }
    keep_only(scores, std::move(kept));
  }

 private:
  double share_;
};

class TopK : public Processor {
 public:
  TopK(int k, int keep) : k_(std::max(k, keep)) {}
  std::string_view name() const override { return "TopKLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    const float border = kth_largest(scores, std::min(k_, scores.vocab_size()));
    if (worth_selecting(scores) && border > kRemoved) {
      const auto n = static_cast<int64_t>(scores.count());
      auto ids = kernels::indices_above(scores.values().data(), n, std::nextafter(border, kRemoved), n);
      if (ids) return scores.keep_only(std::move(*ids));
    }
    scores.keep_if([border](int32_t, float score) { return score >= border; });
  }

 private:
  int k_;
};

class TopP : public Processor {
 public:
  TopP(double mass, int keep) : removed_(1 - mass), keep_(keep) {}
  std::string_view name() const override { return "TopPLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    std::vector<Weighted> entries = best_of_mass(scores, 1 - removed_);
    if (entries.size() < static_cast<size_t>(keep_)) entries = distribution(scores);
    if (entries.empty()) return;
    // From the least probable on, as long as their sum stays within what may go: the token that
    // crosses the border stays. What is not among the entries goes in any case.
    const double below = worth_selecting(scores) ? std::max(0.0, 1 - sum_of(entries)) : 0;
    size_t gone = prefix_by_mass(entries, [&](double sum) { return below + sum <= removed_; });
    const size_t keep = std::min<size_t>(keep_, entries.size());
    if (gone > entries.size() - keep) {
      gone = entries.size() - keep;
      std::nth_element(
          entries.begin(), entries.begin() + gone, entries.end(),
          [](const Weighted& a, const Weighted& b) { return a.key != b.key ? a.key < b.key : a.id < b.id; });
    }
    std::vector<int32_t> kept;
    for (size_t i = gone; i < entries.size(); ++i) kept.push_back(entries[i].id);
    keep_only(scores, std::move(kept));
  }

 private:
  double removed_;
  int keep_;
};

/// Drops what is less probable than a border, except the `keep` best.
class ProbabilityBorder : public Processor {
 public:
  explicit ProbabilityBorder(int keep) : keep_(keep) {}
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    // NaN has no order, and infinity no distribution: the choice at the end of the chain says so.
    if (!std::isfinite(norm)) return;
    const double least = border(scores, norm);
    const float best = kth_largest(scores, std::min(keep_, scores.vocab_size()));
    const auto stays = [&](int32_t, float score) { return std::exp(score - norm) >= least || score >= best; };
    if (worth_selecting(scores) && least > 0) {
      const auto bound = a_little_below(std::min<double>(best, norm + std::log(least)));
      if (const auto entries = entries_above(scores, norm, bound)) {
        std::vector<int32_t> ids;
        for (const Weighted& entry : *entries) {
          if (stays(entry.id, entry.key)) ids.push_back(entry.id);
        }
        return scores.keep_only(std::move(ids));
      }
    }
    scores.keep_if(stays);
  }

 protected:
  /// @param norm log-sum-exp of the scores.
  virtual double border(const Scores& scores, double norm) const = 0;

 private:
  int keep_;
};

class MinP : public ProbabilityBorder {
 public:
  MinP(double share, int keep) : ProbabilityBorder(keep), share_(share) {}
  std::string_view name() const override { return "MinPLogitsWarper"; }

 protected:
  double border(const Scores& scores, double norm) const override {
    return share_ * std::exp(kth_largest(scores, 1) - norm);
  }

 private:
  double share_;
};

class Epsilon : public ProbabilityBorder {
 public:
  Epsilon(double epsilon, int keep) : ProbabilityBorder(keep), epsilon_(epsilon) {}
  std::string_view name() const override { return "EpsilonLogitsWarper"; }

 protected:
  double border(const Scores&, double) const override { return epsilon_; }

 private:
  double epsilon_;
};

class Eta : public ProbabilityBorder {
 public:
  Eta(double eta, int keep) : ProbabilityBorder(keep), eta_(eta) {}
  std::string_view name() const override { return "EtaLogitsWarper"; }

 protected:
  double border(const Scores& scores, double norm) const override {
    return std::min(eta_, std::sqrt(eta_) * std::exp(-entropy(scores, norm)));
  }

 private:
  double eta_;
};

class TypicalP : public Processor {
 public:
  TypicalP(double mass, int keep) : mass_(mass), keep_(keep) {}
  std::string_view name() const override { return "TypicalLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return;
    const double center = entropy(scores, norm);
    std::vector<Weighted> entries = nearest(scores, norm, center);
    const std::vector<Weighted> by_id = entries;
    const size_t passed = prefix_by_mass(entries, [this](double sum) { return sum < mass_; });
    // The entry that reaches the mass stays, and so does everything tied with it.
    const auto nearer = [](const Weighted& a, const Weighted& b) {
      return a.key != b.key ? a.key < b.key : a.id < b.id;
    };
    const size_t last =
        std::max(std::min(passed, entries.size() - 1), std::min<size_t>(keep_, entries.size()) - 1);
    std::nth_element(entries.begin(), entries.begin() + last, entries.end(), nearer);
    const float border = entries[last].key;
    std::vector<int32_t> kept;
    for (const Weighted& entry : by_id) {
      if (entry.key <= border) kept.push_back(entry.id);
    }
    scores.keep_only(std::move(kept));
  }

 private:
  /// What is left, keyed by how far its surprise is from what is expected; of a whole vocabulary only as far
  /// as the mass needs, which everything as near is among.
  std::vector<Weighted> nearest(const Scores& scores, double norm, double center) const {
    const auto keyed = [&](std::vector<Weighted> entries) {
      for (Weighted& entry : entries) entry.key = static_cast<float>(std::fabs(norm - entry.key - center));
      return entries;
    };
    for (const double width : {1.0, 2.0, 4.0, 8.0}) {
      if (!worth_selecting(scores)) break;
      auto entries = entries_above(scores, norm, a_little_below(norm - center - width));
      if (!entries) break;
      std::erase_if(*entries,
                    [&](const Weighted& entry) { return std::fabs(norm - entry.key - center) > width; });
      if (entries->size() >= static_cast<size_t>(keep_) && sum_of(*entries) >= mass_ + kMargin) {
        return keyed(std::move(*entries));
      }
    }
    return keyed(distribution(scores));
  }

  double mass_;
  int keep_;
};

}  // namespace

ProcessorPtr temperature(double value) { return std::make_unique<Temperature>(value); }
ProcessorPtr top_h(double share) { return std::make_unique<TopH>(share); }
ProcessorPtr top_k(int k, int keep) { return std::make_unique<TopK>(k, keep); }
ProcessorPtr top_p(double mass, int keep) { return std::make_unique<TopP>(mass, keep); }
ProcessorPtr min_p(double share, int keep) { return std::make_unique<MinP>(share, keep); }
ProcessorPtr typical_p(double mass, int keep) { return std::make_unique<TypicalP>(mass, keep); }
ProcessorPtr epsilon_cutoff(double epsilon, int keep) { return std::make_unique<Epsilon>(epsilon, keep); }
ProcessorPtr eta_cutoff(double eta, int keep) { return std::make_unique<Eta>(eta, keep); }

}  // namespace genkit::logits

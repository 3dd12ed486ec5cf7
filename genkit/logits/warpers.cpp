#include <algorithm>
#include <cmath>
#include <optional>

#include "genkit/logits/mass.h"
#include "genkit/logits/processor.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

class Temperature : public Processor {
 public:
  explicit Temperature(double value) : value_(static_cast<float>(value)) {}
  std::string_view name() const override { return "TemperatureLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override { divide(scores, value_); }

 private:
  float value_;
};

/// Keeps exactly these ids.
void keep_only(Scores& scores, std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  scores.keep_only(std::move(ids));
}

/// `nearer` and some ids of its neighbourhood, in ascending order.
std::vector<int32_t> joined(std::vector<int32_t> nearer, std::vector<int32_t> at) {
  std::sort(at.begin(), at.end());
  const auto middle = static_cast<std::ptrdiff_t>(nearer.size());
  nearer.insert(nearer.end(), at.begin(), at.end());
  std::inplace_merge(nearer.begin(), nearer.begin() + middle, nearer.end());
  return nearer;
}

class TopH : public Processor {
 public:
  explicit TopH(double share) : share_(share) {}
  std::string_view name() const override { return "TopHLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    constexpr int kConsidered = 100;  // as transformers: the rest of the distribution does not count
    const auto best = largest(scores, kConsidered);
    if (best.empty()) return;
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
      return scores.keep_only(ids_above(scores, std::nextafter(border, kRemoved)));
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
    if (worth_selecting(scores)) {
      std::vector<int32_t> kept = best_of_vocabulary(scores);
      if (kept.size() >= static_cast<size_t>(keep_) && !kept.empty())
        return scores.keep_only(std::move(kept));
    }
    std::vector<Weighted> entries = distribution(scores);
    if (!entries.empty()) keep_only(scores, best_of(entries, 0));
  }

 private:
  /// @param below what tokens that are not among the entries weigh.
  std::vector<int32_t> best_of(std::vector<Weighted>& entries, double below) const {
    // From the least probable on, as long as their sum stays within what may go: the token that
    // crosses the border stays.
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
    return kept;
  }
  /// Looks at those tokens that the border can lie between; empty where that does not tell.
  std::vector<int32_t> best_of_vocabulary(const Scores& scores) const {
    const double norm = log_sum_exp(scores);
    if (!std::isfinite(norm)) return {};
    const float top = scores.maxima().top;
    for (const float depth : {6.0f, 9.0f, 13.0f}) {
      auto entries = entries_above(scores, norm, top - depth);
      if (!entries) break;
      const double mass = sum_of(*entries);
      if (mass < 1 - removed_ + kMargin) continue;
      if (entries->size() < static_cast<size_t>(keep_)) return {};
      return joined({}, best_of(*entries, std::max(0.0, 1 - mass)));
    }
    auto border = mass_border(scores, norm, top, true, [this](double sum) { return sum <= removed_; });
    if (!border) return {};
    const size_t gone =
        prefix_by_mass(border->at, [&](double sum) { return border->passed + sum <= removed_; });
    std::vector<int32_t> at;
    for (size_t i = gone; i < border->at.size(); ++i) at.push_back(border->at[i].id);
    return joined(std::move(border->nearer), std::move(at));
  }

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
      // Only next to the border does it take the probability itself to tell.
      const double place = norm + std::log(least);
      const auto clear = static_cast<float>(place + kMargin * (1 + std::fabs(place)));
      std::vector<int32_t> ids = ids_above(scores, a_little_below(std::min<double>(best, place)));
      std::erase_if(ids, [&, values = scores.values()](int32_t id) {
        const float score = values[static_cast<size_t>(id)];
        return score <= clear && !stays(id, score);
      });
      return scores.keep_only(std::move(ids));
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
    if (worth_selecting(scores)) {
      std::vector<int32_t> kept = nearest_of_vocabulary(scores, norm, center);
      if (kept.size() >= static_cast<size_t>(keep_) && !kept.empty())
        return scores.keep_only(std::move(kept));
    }
    keep_only(scores, nearest(keyed(distribution(scores), norm, center), 0, keep_));
  }

 private:
  /// Keys are how far an entry's surprise is from what is expected.
  static std::vector<Weighted> keyed(std::vector<Weighted> entries, double norm, double center) {
    for (Weighted& entry : entries) entry.key = static_cast<float>(std::fabs(norm - entry.key - center));
    return entries;
  }
  /// The entry that reaches the mass stays, and so does everything tied with it.
  /// @param passed what tokens nearer than all entries weigh.
  std::vector<int32_t> nearest(std::vector<Weighted> entries, double passed, int keep) const {
    const auto nearer = [](const Weighted& a, const Weighted& b) {
      return a.key != b.key ? a.key < b.key : a.id < b.id;
    };
    const size_t before = prefix_by_mass(entries, [&](double sum) { return passed + sum < mass_; });
    const size_t last =
        std::max(std::min(before, entries.size() - 1), std::min<size_t>(keep, entries.size()) - 1);
    std::nth_element(entries.begin(), entries.begin() + last, entries.end(), nearer);
    const float border = entries[last].key;
    std::vector<int32_t> kept;
    for (const Weighted& entry : entries) {
      if (entry.key <= border) kept.push_back(entry.id);
    }
    return kept;
  }
  /// Looks only as far as the mass needs; empty where that does not tell.
  std::vector<int32_t> nearest_of_vocabulary(const Scores& scores, double norm, double center) const {
    for (const double width : {2.0, 5.0}) {
      auto entries = entries_above(scores, norm, a_little_below(norm - center - width));
      if (!entries) break;
      std::erase_if(*entries,
                    [&](const Weighted& entry) { return std::fabs(norm - entry.key - center) > width; });
      if (entries->size() >= static_cast<size_t>(keep_) && sum_of(*entries) >= mass_ + kMargin) {
        return joined({}, nearest(keyed(std::move(*entries), norm, center), 0, keep_));
      }
    }
    auto border = mass_border(scores, norm, static_cast<float>(norm - center), false,
                              [this](double sum) { return sum < mass_; });
    if (!border || border->at.empty()) return {};
    auto at = nearest(keyed(std::move(border->at), norm, center), border->passed, 1);
    return joined(std::move(border->nearer), std::move(at));
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

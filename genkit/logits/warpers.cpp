#include <algorithm>
#include <cmath>

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

double entropy(const std::vector<Weighted>& entries) {
  double sum = 0;
  for (const Weighted& entry : entries) {
    if (entry.mass > 0) sum -= entry.mass * std::log(entry.mass);
  }
  return sum;
}

/// Keeps exactly these ids.
void keep_only(Scores& scores, std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  size_t next = 0;
  scores.keep_if([&](int32_t id, float) {
    while (next < ids.size() && ids[next] < id) ++next;
    return next < ids.size() && ids[next] == id;
  });
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
    std::vector<Weighted> entries = distribution(scores);
    if (entries.empty()) return;
    // From the least probable on, as long as their sum stays within what may go: the token that
    // crosses the border stays.
    size_t gone = prefix_by_mass(entries, [this](double sum) { return sum <= removed_; });
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
    const std::vector<Weighted> entries = distribution(scores);
    if (entries.empty()) return;
    const double least = border(entries);
    const float best = kth_largest(scores, std::min(keep_, scores.vocab_size()));
    size_t next = 0;
    scores.keep_if([&](int32_t id, float score) {
      while (entries[next].id < id) ++next;
      return entries[next].mass >= least || score >= best;
    });
  }

 protected:
  virtual double border(const std::vector<Weighted>& entries) const = 0;
  int keep() const { return keep_; }

 private:
  int keep_;
};

class MinP : public ProbabilityBorder {
 public:
  MinP(double share, int keep) : ProbabilityBorder(keep), share_(share) {}
  std::string_view name() const override { return "MinPLogitsWarper"; }

 protected:
  double border(const std::vector<Weighted>& entries) const override {
    double top = 0;
    for (const Weighted& entry : entries) top = std::max(top, entry.mass);
    return share_ * top;
  }

 private:
  double share_;
};

class Epsilon : public ProbabilityBorder {
 public:
  Epsilon(double epsilon, int keep) : ProbabilityBorder(keep), epsilon_(epsilon) {}
  std::string_view name() const override { return "EpsilonLogitsWarper"; }

 protected:
  double border(const std::vector<Weighted>&) const override { return epsilon_; }

 private:
  double epsilon_;
};

class Eta : public ProbabilityBorder {
 public:
  Eta(double eta, int keep) : ProbabilityBorder(keep), eta_(eta) {}
  std::string_view name() const override { return "EtaLogitsWarper"; }

 protected:
  double border(const std::vector<Weighted>& entries) const override {
    return std::min(eta_, std::sqrt(eta_) * std::exp(-entropy(entries)));
  }

 private:
  double eta_;
};

class TypicalP : public Processor {
 public:
  TypicalP(double mass, int keep) : mass_(mass), keep_(keep) {}
  std::string_view name() const override { return "TypicalLogitsWarper"; }
  void apply(const Context&, Scores& scores) const override {
    std::vector<Weighted> entries = distribution(scores);
    if (entries.empty()) return;
    const double center = entropy(entries);
    const double norm = log_sum_exp(scores);
    // How far a token's surprise is from what is expected.
    for (Weighted& entry : entries) entry.key = static_cast<float>(std::fabs(norm - entry.key - center));
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
    size_t next = 0;
    scores.keep_if([&](int32_t id, float) {
      while (by_id[next].id < id) ++next;
      return by_id[next].key <= border;
    });
  }

 private:
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

// What holds for every chain of processors, on random options and scores.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>
#include <map>

#include "genkit/config/generation_fields.h"
#include "genkit/logits/chain.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"

namespace genkit::logits {
namespace {

using config::GenerationConfig;
using nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr int kVocab = 48;

/// Options that draw, each there or not.
rc::Gen<json> sampling_options() {
  return rc::gen::exec([] {
    json out = {{"do_sample", true}};
    const auto share = [](int low, int high) { return *rc::gen::inRange(low, high) / 1000.0; };
    const auto maybe = [&](const char* name, auto value) {
      if (*rc::gen::inRange(0, 3) == 0) out[name] = value();
    };
    maybe("temperature", [&] { return share(50, 3000); });
    maybe("top_k", [&] { return *rc::gen::inRange(0, 60); });
    maybe("top_p", [&] { return share(1, 1000); });
    maybe("min_p", [&] { return share(0, 1000); });
    maybe("typical_p", [&] { return share(1, 1000); });
    maybe("top_h", [&] { return share(1, 1000); });
    maybe("epsilon_cutoff", [&] { return share(0, 1000); });
    maybe("eta_cutoff", [&] { return share(0, 1000); });
    maybe("xtc_probability", [&] { return share(0, 1000); });
    maybe("dynatemp_range", [&] { return share(0, 1500); });
    maybe("mirostat_tau", [&] { return share(100, 8000); });
    return out;
  });
}

/// Options of every mode.
rc::Gen<json> penalties() {
  return rc::gen::exec([] {
    json out = json::object();
    const auto share = [](int low, int high) { return *rc::gen::inRange(low, high) / 1000.0; };
    const auto maybe = [&](const char* name, auto value) {
      if (*rc::gen::inRange(0, 3) == 0) out[name] = value();
    };
    maybe("repetition_penalty", [&] { return share(500, 2000); });
    maybe("frequency_penalty", [&] { return share(-2000, 2000); });
    maybe("presence_penalty", [&] { return share(-2000, 2000); });
    maybe("dry_multiplier", [&] { return share(0, 2000); });
    maybe("encoder_repetition_penalty", [&] { return share(500, 2000); });
    maybe("renormalize_logits", [] { return true; });
    if (out.contains("dry_multiplier") && out["dry_multiplier"] > 0.0)
      out["dry_sequence_breakers"] = json::array();
    return out;
  });
}

rc::Gen<std::vector<float>> score_rows() {
  return rc::gen::container<std::vector<float>>(
      kVocab, rc::gen::map(rc::gen::inRange(-4000, 4000), [](int x) { return static_cast<float>(x) / 200; }));
}

rc::Gen<Ids> id_rows(int least, int most) {
  return rc::gen::mapcat(rc::gen::inRange(least, most), [](int n) {
    return rc::gen::container<Ids>(static_cast<size_t>(n), rc::gen::inRange(0, kVocab));
  });
}

struct Row {
  config::EffectiveConfig effective;
  Ids prompt, context;

  Row(const json& options, Ids prompt_ids, const Ids& new_ids)
      : effective(config::resolve({}, GenerationConfig::from_caller(options, ""))),
        prompt(std::move(prompt_ids)),
        context(prompt) {
    context.insert(context.end(), new_ids.begin(), new_ids.end());
  }
  Chain chain() const {
    return Chain({.config = effective.values,
                  .mode = effective.mode,
                  .prompt = prompt,
                  .max_length = 1000,
                  .vocab_size = kVocab,
                  .key = {.seed = 4, .row = 1, .step = 0}});
  }
};

void expect(bool holds) { RC_ASSERT(holds); }

TEST(ChainProperties, WarpersLeaveADistributionAndNeverNothing) {
  EXPECT_TRUE(rc::check([] {
    json options = *sampling_options();
    options.update(*penalties());
    const Row row(options, *id_rows(1, 8), *id_rows(0, 12));
    std::vector<float> values = *score_rows();
    Scores scores(values);
    row.chain().apply({row.context}, scores);
    const double norm = log_sum_exp(values);
    double sum = 0;
    int left = 0;
    for (const float v : values) {
      left += v > kRemoved;
      sum += std::exp(v - norm);
    }
    expect(left >= 1);
    expect(std::fabs(sum - 1) < 1e-5);
  }));
}

TEST(ChainProperties, ABatchIsItsRows) {
  EXPECT_TRUE(rc::check([] {
    const Row row(*penalties(), *id_rows(1, 8), {});
    const int beams = *rc::gen::inRange(1, 5);
    std::vector<Ids> contexts;
    std::vector<std::vector<float>> together, alone;
    for (int i = 0; i < beams; ++i) {
      Ids ids = row.prompt;
      const Ids more = *id_rows(3, 4);
      ids.insert(ids.end(), more.begin(), more.end());
      contexts.push_back(std::move(ids));
      together.push_back(*score_rows());
    }
    alone = together;
    std::vector<Context> views;
    for (const auto& ids : contexts) views.push_back({ids});
    std::vector<Scores> scores(together.begin(), together.end());
    const Chain chain = row.chain();
    chain.apply(views, scores);
    for (size_t i = 0; i < alone.size(); ++i) {
      Scores one(alone[i]);
      chain.apply(views[i], one);
      expect(std::memcmp(alone[i].data(), together[i].data(), alone[i].size() * sizeof(float)) == 0);
    }
  }));
}

TEST(ChainProperties, NeutralValuesAreBitIdenticalToNone) {
  EXPECT_TRUE(rc::check([] {
    // top_k's default is no neutral value, so that it is said in both.
    json options = *sampling_options();
    if (!options.contains("top_k")) options["top_k"] = 0;
    json neutral = options;
    for (const config::OptionRow& row : config::option_rows()) {
      const std::string name(row.name);
      if (row.neutral.empty() || options.contains(name) || *rc::gen::inRange(0, 2) == 0) continue;
      neutral[name] = json::parse(row.neutral);
    }
    const Ids prompt = *id_rows(1, 8), more = *id_rows(0, 12);
    std::vector<float> with = *score_rows(), without = with;
    const Row a(options, prompt, more), b(neutral, prompt, more);
    Scores view_a(without), view_b(with);
    a.chain().apply({a.context}, view_a);
    b.chain().apply({b.context}, view_b);
    expect(std::memcmp(with.data(), without.data(), with.size() * sizeof(float)) == 0);
  }));
}

TEST(ChainProperties, DrawsFollowTheDistribution) {
  // Against the exact probabilities by chi-square, over what the warpers left. Each of the 100 trials fails
  // by chance once in 10^6.
  EXPECT_TRUE(rc::check("draws", [] {
    const Row row(*sampling_options(), {1, 2, 3}, {});
    std::vector<float> values = *score_rows();
    Scores scores(values);
    Chain chain = row.chain();
    chain.apply({row.context}, scores);
    const double norm = log_sum_exp(values);
    constexpr int kDraws = 4000;
    std::map<int32_t, int> counts;
    const auto seed = static_cast<uint64_t>(*rc::gen::inRange(0, 1000000));
    for (int i = 0; i < kDraws; ++i) {
      ++counts[sample(scores, {.seed = seed, .row = 0, .step = static_cast<uint64_t>(i)})];
    }
    // Cells of fewer than 5 expected draws go together, as the test asks for.
    double statistic = 0, rest_expected = 0;
    int rest_seen = 0, cells = 0;
    for (int32_t id = 0; id < kVocab; ++id) {
      const double wanted = kDraws * std::exp(values[static_cast<size_t>(id)] - norm);
      const int seen = counts.contains(id) ? counts[id] : 0;
      if (values[static_cast<size_t>(id)] == kRemoved) expect(seen == 0);
      if (wanted < 5) {
        rest_expected += wanted;
        rest_seen += seen;
        continue;
      }
      statistic += (seen - wanted) * (seen - wanted) / wanted;
      ++cells;
    }
    if (rest_expected >= 5) {
      statistic += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
      ++cells;
    }
    // Wilson and Hilferty's normal approximation of chi-square's 1 - 10^-6 quantile.
    const double freedom = std::max(1, cells - 1), z = 4.753;
    const double root = 1 - 2 / (9 * freedom) + z * std::sqrt(2 / (9 * freedom));
    expect(cells < 2 || statistic < freedom * root * root * root);
  }));
}

TEST(ChainProperties, ADrawDependsOnItsKeyAlone) {
  EXPECT_TRUE(rc::check([] {
    const Row row(*sampling_options(), *id_rows(1, 8), *id_rows(0, 6));
    const std::vector<float> start = *score_rows();
    const DrawKey key{.seed = static_cast<uint64_t>(*rc::gen::inRange(0, 1000)), .row = 3, .step = 5};
    Ids drawn;
    for (int i = 0; i < 2; ++i) {
      std::vector<float> values = start;
      Scores scores(values);
      row.chain().apply({row.context}, scores);
      drawn.push_back(sample(scores, key));
    }
    expect(drawn[0] == drawn[1]);
  }));
}

}  // namespace
}  // namespace genkit::logits

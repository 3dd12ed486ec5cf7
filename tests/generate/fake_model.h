#pragma once

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <cmath>
#include <map>

#include "genkit/models/model.h"

namespace genkit::generate {

namespace mx = mlx::core;

/// A model whose logits are a hash of everything a row has been fed, so that a token that is fed
/// twice, left out, or fed to another row changes all that follows. It keeps its history where real
/// models keep theirs: in the cache, one number a position.
class FakeModel : public models::Model {
 public:
  static constexpr int kVocab = 48;

  explicit FakeModel(int max_positions = 4096, int vocab = kVocab)
      : Model(make_config(max_positions, vocab)) {}

  std::vector<ops::KvShape> cache_layers() const override {
    return {{.kv_heads = 1, .head_dim = 1, .value_dim = 1}};
  }
  models::Components components() const override { return {}; }
  mx::array head(const mx::array& states) const override { return states; }
  std::optional<int> cache_border() const override { return border; }
  int rotated_alike(int a, int b, int length) const override {
    return border && (a > *border) != (b > *border) ? 0 : length;
  }

  models::ForwardOutput forward(const models::ForwardInput& input, cache::KvCache* cache,
                                const std::vector<models::ForwardHook*>&) const override {
    mx::array tokens = input.tokens;
    tokens.eval();
    const int32_t* ids = tokens.data<int32_t>();
    std::vector<float> logits;
    int done = 0;
    for (const models::RowSpan& row : input.rows) {
      ops::KvStore& store = *cache->store(row.slot, 0);
      EXPECT_EQ(row.position, store.length());
      const std::vector<float> numbers(ids + done, ids + done + row.length);
      store.append(numbers.data(), numbers.data(), row.length);
      done += row.length;
      uint64_t hash = frequency_seed(row);
      const int oldest = store.oldest_seen(store.length() - 1);
      for (int p = 0; p < store.length(); ++p) {
        if (p < oldest && p >= store.bound().sinks) continue;  // past max_kv_size
        const auto* keys = static_cast<const float*>(store.page_at(p).keys());
        hash = mix(hash, static_cast<uint64_t>(keys[p % ops::KvPage::kPageTokens]));
        if (p < store.length() - wanted(input, row)) continue;
        const uint64_t seen = unit(mix(hash, 77)) < noise ? mix(hash, 99) : hash;
        for (int id = 0; id < kVocab; ++id) {
          logits.push_back(static_cast<float>(unit(mix(seen, 1000 + static_cast<uint64_t>(id)))) * 8);
        }
        if (period > 0 && p >= kRepeatsFrom) {
          const int before = p + 1 - period;
          const auto* old = static_cast<const float*>(store.page_at(before).keys());
          const auto id = static_cast<size_t>(old[before % ops::KvPage::kPageTokens]);
          logits[logits.size() - kVocab + id] += 20;
        }
      }
    }
    EXPECT_EQ(static_cast<size_t>(done), tokens.size());
    pass_sizes.push_back(done);
    pass_rows.push_back(static_cast<int>(input.rows.size()));
    models::ForwardOutput out;
    out.hidden = mx::zeros({done, 1});
    if (!logits.empty()) {
      out.logits = mx::array(logits.data(), {static_cast<int>(logits.size()) / kVocab, kVocab}, mx::float32);
    }
    return out;
  }

  std::optional<int> border;  ///< @see Model::cache_border
  double noise = 0;           ///< share of contexts in which it is of another mind than a model without
  int period = 0;             ///< above 0: rows of some length go on as they did so many tokens before
  mutable std::vector<int> pass_sizes;  ///< tokens of each pass so far
  mutable std::vector<int> pass_rows;   ///< rows of each pass so far

 private:
  static constexpr int kRepeatsFrom = 24;
  static double unit(uint64_t hash) { return static_cast<double>(hash >> 40) / 0x1.0p24; }
  static config::ModelConfig make_config(int max_positions, int vocab) {
    config::ModelConfig config;
    config.vocab_size = vocab;
    config.max_position_embeddings = max_positions;
    return config;
  }
  static int wanted(const models::ForwardInput& input, const models::RowSpan& row) {
    switch (input.logits) {
      case models::LogitsFor::kNone:
        return 0;
      case models::LogitsFor::kLast:
        return 1;
      case models::LogitsFor::kAll:
        return row.length;
      case models::LogitsFor::kPerRow:
        return row.logits;
    }
    return 0;
  }
  static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
  }
  /// Past the border another function of the whole row, as with longrope.
  uint64_t frequency_seed(const models::RowSpan& row) const {
    return border && row.rope_length > *border ? 77 : 1;
  }
};

}  // namespace genkit::generate

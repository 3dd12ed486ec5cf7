#include "genkit/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernels/kernel_test.h"

namespace genkit::kernels {
namespace {

using namespace testing;

// A cache of one row with `length` positions of random keys and values, in pages of their own.
class Cache {
 public:
  Cache(const AttentionShape& s, int length, uint32_t seed) : shape_(s) {
    const int pages = (length + kPageSlots - 1) / kPageSlots;
    keys_ = random_floats(size_t{1} * pages * s.kv_heads * kPageSlots * s.head_dim, seed);
    values_ = random_floats(size_t{1} * pages * s.kv_heads * kPageSlots * s.value_dim, seed + 1);
    // What was never written must never be read.
    for (int t = length; t < pages * kPageSlots; ++t) {
      for (int h = 0; h < s.kv_heads; ++h) {
        for (int i = 0; i < s.value_dim; ++i) values_[at(t, h, s.value_dim) + i] = NAN;
      }
    }
    pack(keys_, key_bytes_);
    pack(values_, value_bytes_);
  }

  size_t at(int t, int h, int dim) const {
    return (size_t(t / kPageSlots) * shape_.kv_heads * kPageSlots + h * kPageSlots + t % kPageSlots) * dim;
  }
  float key(int t, int h, int i) const { return keys_[at(t, h, shape_.head_dim) + i]; }
  float value(int t, int h, int i) const { return values_[at(t, h, shape_.value_dim) + i]; }

  AttentionRows rows(const float* q, float* out, int position, int length) const {
    AttentionRows r;
    r.q = q;
    r.out = out;
    r.position = position;
    r.length = length;
    const int oldest = shape_.window > 0 ? std::max(0, position - shape_.window + 1) : 0;
    r.first_page = oldest / kPageSlots;
    const size_t item = shape_.type == CacheType::kF32 ? 4 : 2;
    for (int page = r.first_page; page <= (position + length - 1) / kPageSlots; ++page) {
      r.keys.push_back(key_bytes_.data() + item * page * shape_.kv_heads * kPageSlots * shape_.head_dim);
      r.values.push_back(value_bytes_.data() + item * page * shape_.kv_heads * kPageSlots * shape_.value_dim);
    }
    return r;
  }

 private:
  // To the cache's type; the numbers kept for reference are rounded the same way.
  void pack(std::vector<float>& numbers, std::vector<uint8_t>& bytes) const {
    const bool half = shape_.type == CacheType::kF16;
    bytes.resize(numbers.size() * (shape_.type == CacheType::kF32 ? 4 : 2));
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (shape_.type == CacheType::kF32) {
        std::memcpy(&bytes[4 * i], &numbers[i], 4);
        continue;
      }
      const uint16_t h = half ? float_to_half(numbers[i]) : float_to_bfloat(numbers[i]);
      std::memcpy(&bytes[2 * i], &h, 2);
      numbers[i] = half ? half_to_float(h) : bfloat_to_float(h);
    }
  }

  AttentionShape shape_;
  std::vector<float> keys_, values_;
  std::vector<uint8_t> key_bytes_, value_bytes_;
};

std::vector<double> reference(const AttentionShape& s, const Cache& cache, const float* q, int position,
                              int head) {
  const int kv_head = head / (s.heads / s.kv_heads);
  const int first = s.window > 0 ? std::max(0, position - s.window + 1) : 0;
  std::vector<double> scores, out(s.value_dim, 0);
  double best = -INFINITY, total = 0;
  for (int t = first; t <= position; ++t) {
    double dot = 0;
    for (int i = 0; i < s.head_dim; ++i) dot += double{q[i]} * cache.key(t, kv_head, i);
    dot *= s.scale;
    if (s.softcap > 0) dot = s.softcap * std::tanh(dot / s.softcap);
    scores.push_back(dot);
    best = std::max(best, dot);
  }
  for (double& v : scores) total += v = std::exp(v - best);
  for (int t = first; t <= position; ++t) {
    for (int i = 0; i < s.value_dim; ++i) out[i] += scores[t - first] / total * cache.value(t, kv_head, i);
  }
  return out;
}

std::vector<AttentionShape> shapes() {
  return {{4, 1, 32, 32, CacheType::kF32, 0.18f, 0, 0},    {6, 2, 20, 12, CacheType::kF32, 0.3f, 2.0f, 100},
          {3, 3, 17, 5, CacheType::kF32, 0.5f, 0, 0},      {4, 2, 64, 64, CacheType::kF16, 0.125f, 0, 512},
          {2, 1, 256, 256, CacheType::kBF16, 0.06f, 0, 0}, {16, 2, 8, 40, CacheType::kF32, 1.0f, 0, 1}};
}

// Those that tiles take, asked for them; the last has a window and a softcap.
std::vector<AttentionShape> fast_shapes() {
  std::vector<AttentionShape> fast = {{4, 1, 32, 32, CacheType::kF32, 0.18f, 0, 0},
                                      {4, 2, 64, 64, CacheType::kF16, 0.125f, 0, 512},
                                      {2, 1, 256, 256, CacheType::kBF16, 0.06f, 0, 0},
                                      {3, 1, 96, 64, CacheType::kF32, 0.1f, 0, 512},
                                      {6, 2, 64, 32, CacheType::kF32, 0.3f, 2.0f, 100}};
  for (AttentionShape& s : fast) s.fast = true;
  return fast;
}

std::vector<AttentionShape> all_shapes() {
  std::vector<AttentionShape> all = shapes();
  for (const AttentionShape& s : fast_shapes()) all.push_back(s);
  return all;
}

// Attention over `cache` from several positions, against the reference. @param round_queries to bfloat16
// first.
void expect_near_reference(const KernelTable& table, const AttentionShape& s, const Cache& cache,
                           bool round_queries, float tolerance) {
  for (const auto& [position, length] :
       {std::pair{0, 1}, {0, 3}, {63, 2}, {200, 70}, {511, 2}, {1300, 1}, {1100, 60}}) {
    auto q = random_floats(length * s.heads * s.head_dim, 2);
    if (round_queries) {
      for (float& x : q) x = bfloat_to_float(float_to_bfloat(x));
    }
    std::vector<float> out(length * s.heads * s.value_dim);
    attention({cache.rows(q.data(), out.data(), position, length)}, s, table);
    for (int t = 0; t < length; t += 7) {
      for (int h = 0; h < s.heads; ++h) {
        const auto expected = reference(s, cache, &q[(t * s.heads + h) * s.head_dim], position + t, h);
        for (int i = 0; i < s.value_dim; ++i)
          ASSERT_NEAR(out[(t * s.heads + h) * s.value_dim + i], expected[i], tolerance)
              << table.name << " head_dim " << s.head_dim << " position " << position + t;
      }
    }
  }
}

TEST(Attention, IsNearTheTruthAtEveryLength) {
  for (const auto* table : all_tables()) {
    // Weighted means of numbers up to 4; measured at most 3.5e-7.
    for (const AttentionShape& s : shapes())
      expect_near_reference(*table, s, Cache(s, 1301, 1), false, 1.5e-6f);
  }
}

// Queries, keys and values of this cache have been rounded to bfloat16 before, so that what is left is the
// rounding of probabilities: half of 2^-8 of each, of values up to 4, most of it averaged away where slots
// are many. Measured at most 8.6e-4.
TEST(Attention, FastIsNearTheTruthOfRoundedNumbers) {
  for (const auto* table : all_tables()) {
    for (AttentionShape s : fast_shapes()) {
      s.type = CacheType::kBF16;
      expect_near_reference(*table, s, Cache(s, 1301, 1), true, 3e-3f);
    }
  }
}

TEST(Attention, ACacheOfBfloat16LeavesTheBitsWhereKeysAndValuesAreRoundedAnyway) {
  int rounding = 0;
  for (const auto* table : all_tables()) {
    for (AttentionShape s : all_shapes()) {
      if (!rounds_to_bf16(s, *table)) continue;
      ++rounding;
      const int length = 70, position = 1100;
      const auto q = random_floats(length * s.heads * s.head_dim, 2);
      std::vector<float> out[2];
      for (int i = 0; i < 2; ++i) {
        s.type = i == 0 ? CacheType::kF32 : CacheType::kBF16;
        const Cache cache(s, position + length, 1);
        out[i].resize(length * s.heads * s.value_dim);
        attention({cache.rows(q.data(), out[i].data(), position, length)}, s, *table);
      }
      EXPECT_EQ(out[0], out[1]) << table->name << " head_dim " << s.head_dim;
    }
  }
  if (rounding == 0) GTEST_SKIP() << "this machine has no tiles of bfloat16";
}

TEST(Attention, ChunksBatchesAndThreadsDoNotChangeABit) {
  for (const auto* table : all_tables()) {
    for (const AttentionShape& s : all_shapes()) {
      const int total = 1200;
      const Cache cache(s, total, 3), other(s, 700, 4);
      const auto q = random_floats(total * s.heads * s.head_dim, 5);
      const int q_row = s.heads * s.head_dim, out_row = s.heads * s.value_dim;
      std::vector<float> whole(total * out_row), pieces(total * out_row), one(out_row), rest(50 * out_row);
      attention({cache.rows(q.data(), whole.data(), 0, total)}, s, *table);
      const WithThreads threads(3);
      for (int at = 0, length = 1; at < total;
           at += length, length = std::min(total - at, length * 3 % 211 + 1))
        attention({cache.rows(&q[at * q_row], &pieces[at * out_row], at, length)}, s, *table);
      ASSERT_EQ(pieces, whole) << table->name << " head_dim " << s.head_dim;
      for (const int t : {0, 64, 600, 1199}) {
        // Alone, which divides the segments among the threads, and beside another row.
        attention({cache.rows(&q[t * q_row], one.data(), t, 1)}, s, *table);
        ASSERT_EQ(std::memcmp(one.data(), &whole[t * out_row], sizeof(float) * out_row), 0) << table->name;
        std::fill(one.begin(), one.end(), 0);
        attention({other.rows(q.data(), rest.data(), 650, 50), cache.rows(&q[t * q_row], one.data(), t, 1)},
                  s, *table);
        ASSERT_EQ(std::memcmp(one.data(), &whole[t * out_row], sizeof(float) * out_row), 0) << table->name;
      }
    }
  }
}

TEST(Attention, TargetsThatFuseAgreeBitForBit) {
  for (const AttentionShape& s : shapes()) {
    const Cache cache(s, 700, 6);
    const auto q = random_floats(20 * s.heads * s.head_dim, 7);
    std::vector<float> first;
    for (const auto* table : all_tables()) {
      if (!fuses(*table)) continue;
      std::vector<float> out(20 * s.heads * s.value_dim);
      attention({cache.rows(q.data(), out.data(), 640, 20)}, s, *table);
      if (first.empty()) first = out;
      ASSERT_EQ(out, first) << table->name;
    }
  }
}

}  // namespace
}  // namespace genkit::kernels

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/ops/linear.h"
#include "genkit/steering/vector_set.h"

namespace genkit::steering {

namespace {

constexpr int kWords = 4;  // of 64 bits: the sketch
constexpr int kRows = 32;  // of the embedding, eight bits from each
// That may differ between copies of a model. Measured on rows of Gemma 3 270M: none with Q8_0, up to 6
// with Q5_0, 9 with Q4_0, 24 with 30% of noise; 97 to 114 between rows of different tokens.
constexpr int kMostBits = 48;
constexpr float kNormGrid = 4096;  // steps of 1

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t norm_hash(const models::Components& parts) {
  uint64_t hash = 0x6D6C7867;
  if (parts.final_norm == nullptr) return hash;
  mx::array weights = mx::contiguous(mx::astype(*parts.final_norm, mx::float32));
  weights.eval();
  const float* values = weights.data<float>();
  for (size_t i = 0; i < weights.size(); ++i) {
    const float step = std::isfinite(values[i]) ? std::round(values[i] * kNormGrid) : 0.0f;
    hash = mix(hash ^ static_cast<uint64_t>(static_cast<int64_t>(step)));
  }
  return hash;
}

/// Signs of projections on fixed directions of +1 and -1.
std::array<uint64_t, kWords> sketch(const models::Components& parts) {
  std::array<uint64_t, kWords> bits{};
  if (parts.embedding == nullptr || parts.vocab_size == 0) return bits;
  std::vector<int32_t> ids;
  for (uint64_t i = 0; i < kRows; ++i) {
    ids.push_back(static_cast<int32_t>(mix(i + 1) % static_cast<uint64_t>(parts.vocab_size)));
  }
  mx::array rows = ops::embedding(mx::array(ids.data(), {kRows}, mx::int32), *parts.embedding);
  rows = mx::contiguous(mx::astype(rows, mx::float32));
  rows.eval();
  const float* values = rows.data<float>();
  const size_t width = rows.size() / kRows;
  constexpr int kPerRow = kWords * 64 / kRows;
  for (int bit = 0; bit < kWords * 64; ++bit) {
    const float* row = values + static_cast<size_t>(bit / kPerRow) * width;
    double sum = 0;
    for (size_t i = 0; i < width; ++i) {
      const bool minus = mix(static_cast<uint64_t>(bit) * 0x10001 + i) & 1;
      sum += minus ? -row[i] : row[i];
    }
    if (sum > 0) bits[static_cast<size_t>(bit / 64)] |= uint64_t{1} << (bit % 64);
  }
  return bits;
}

/// The text before the sketch, and the sketch; nothing for what is no hash of ours.
std::optional<std::pair<std::string, std::array<uint64_t, kWords>>> split(const std::string& hash) {
  const size_t dash = hash.rfind('-');
  if (dash == std::string::npos || hash.size() - dash - 1 != kWords * 16) return std::nullopt;
  std::array<uint64_t, kWords> bits{};
  for (size_t word = 0; word < kWords; ++word) {
    const char* begin = hash.data() + dash + 1 + word * 16;
    const auto [end, error] = std::from_chars(begin, begin + 16, bits[word], 16);
    if (error != std::errc() || end != begin + 16) return std::nullopt;
  }
  return std::pair(hash.substr(0, dash), bits);
}

}  // namespace

std::string model_hash(const models::Model& model) {
  const models::Components parts = model.components();
  std::string hash = fmt::format("{}-{}x{}-v{}-{:016x}-", model.config().model_type, parts.num_blocks,
                                 parts.hidden_size, parts.vocab_size, norm_hash(parts));
  for (const uint64_t word : sketch(parts)) hash += fmt::format("{:016x}", word);
  return hash;
}

bool same_model(const std::string& a, const std::string& b) {
  const auto left = split(a), right = split(b);
  if (!left || !right || left->first != right->first) return false;
  int different = 0;
  for (size_t word = 0; word < kWords; ++word)
    different += std::popcount(left->second[word] ^ right->second[word]);
  return different <= kMostBits;
}

void check_fits(const VectorSet& set, const models::Model& model, bool any_model, const std::string& option) {
  const models::Components parts = model.components();
  const std::string name = set.name.empty() ? "vectors" : printable(set.name);
  if (set.hidden_size() != parts.hidden_size) {
    throw ArgumentError(fmt::format("{}: directions of {} numbers, but the model's stream has {}", name,
                                    set.hidden_size(), parts.hidden_size));
  }
  if (!set.any_block && !set.directions.empty() && set.directions.rbegin()->first >= parts.num_blocks) {
    throw ArgumentError(fmt::format("{}: direction.{}: the model has {} blocks, the last is {}", name,
                                    set.directions.rbegin()->first, parts.num_blocks, parts.num_blocks - 1));
  }
  if (any_model || set.model_hash.empty()) return;
  const std::string hash = model_hash(model);
  if (same_model(set.model_hash, hash)) return;
  throw ArgumentError(
      fmt::format("{}: model_hash: made with another model ({}; this one is {}); {} uses it all the same",
                  name, printable(set.model_hash), hash, option));
}

}  // namespace genkit::steering

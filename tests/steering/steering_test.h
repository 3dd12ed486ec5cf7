#pragma once

#include <gtest/gtest.h>
#include <mlx/array.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/steering/forward_with_hidden.h"
#include "genkit/steering/hooks.h"

namespace genkit::steering::testing {

namespace mx = mlx::core;
using Ids = std::vector<int32_t>;

inline std::filesystem::path golden_models() {
  return std::filesystem::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models";
}

inline std::unique_ptr<models::Model> golden_model(const std::string& name) {
  io::Checkpoint checkpoint = io::Checkpoint::open(golden_models() / name);
  return models::load_model(checkpoint);
}

inline mx::array random_array(const mx::Shape& shape, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  size_t count = 1;
  for (const int n : shape) count *= static_cast<size_t>(n);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(engine);
  return mx::array(numbers.begin(), shape, mx::float32);
}

inline std::vector<float> values(mx::array a) {
  a = mx::contiguous(mx::astype(a, mx::float32));
  a.eval();
  return {a.data<float>(), a.data<float>() + a.size()};
}

inline bool same_bits(const mx::array& a, const mx::array& b) {
  const auto x = values(a), y = values(b);
  return a.shape() == b.shape() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

inline double max_difference(const mx::array& a, const mx::array& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const auto x = values(a), y = values(b);
  double worst = 0;
  for (size_t i = 0; i < x.size() && i < y.size(); ++i)
    worst = std::max(worst, std::abs(double{x[i]} - y[i]));
  return worst;
}

inline models::ForwardInput pass(const std::vector<Ids>& rows) {
  models::ForwardInput input;
  Ids tokens;
  for (const Ids& row : rows) {
    tokens.insert(tokens.end(), row.begin(), row.end());
    models::RowSpan span;
    span.length = static_cast<int>(row.size());
    span.row = static_cast<int64_t>(input.rows.size());
    input.rows.push_back(span);
  }
  input.tokens = mx::array(tokens.data(), {static_cast<int>(tokens.size())}, mx::int32);
  input.logits = models::LogitsFor::kAll;
  return input;
}

inline mx::array logits(const models::Model& model, const std::vector<Ids>& rows,
                        const std::vector<models::ForwardHook*>& hooks = {}) {
  return *model.forward(pass(rows), nullptr, hooks).logits;
}

/// The message of what `action` throws; empty when it throws nothing.
template <class Exception, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace genkit::steering::testing

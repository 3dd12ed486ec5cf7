// Algebra of vectors, and which model they fit.
#include "genkit/steering/vector_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>

#include "genkit/base/error.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"

namespace genkit::steering {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::ThrowsMessage;

VectorSet set_of(const std::string& name, std::map<int, std::vector<float>> directions) {
  VectorSet set;
  set.name = name;
  set.directions = std::move(directions);
  return set;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

std::vector<float> random_direction(std::mt19937& generator, size_t size) {
  std::normal_distribution<float> normal;
  std::vector<float> out(size);
  for (float& x : out) x = normal(generator);
  return out;
}

std::unique_ptr<models::Model> golden(const std::string& name) {
  const auto folder = std::filesystem::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models" / name;
  io::Checkpoint checkpoint = io::Checkpoint::open(folder);
  return models::load_model(checkpoint);
}

TEST(VectorAlgebra, SumsAreBlockByBlock) {
  const VectorSet a = set_of("a", {{0, {1, 2}}, {3, {4, 0}}}), b = set_of("b", {{3, {1, 1}}, {5, {-1, 2}}});
  const VectorSet sum = weighted_sum({{2, &a}, {-0.5, &b}});
  EXPECT_THAT(sum.directions.at(0), ElementsAre(2, 4));
  EXPECT_THAT(sum.directions.at(3), ElementsAre(7.5f, -0.5f));
  EXPECT_THAT(sum.directions.at(5), ElementsAre(0.5f, -1));
  EXPECT_EQ(sum.directions.size(), 3u);
}

TEST(VectorAlgebra, ScalingAndLengthOne) {
  const VectorSet set = set_of("a", {{1, {3, 4}}});
  EXPECT_THAT(scaled(set, -2).at(1), ElementsAre(-6, -8));
  EXPECT_THAT(normalised(set).at(1), ElementsAre(FloatNear(0.6f, 1e-7f), FloatNear(0.8f, 1e-7f)));
  EXPECT_THAT(
      [] {
        normalised(set_of("nought", {{7, {0, 0}}}));
      },
      ThrowsMessage<ArgumentError>(HasSubstr("nought: direction.7: has length 0")));
}

TEST(VectorAlgebra, WhatIsLeftIsOrthogonalToAllOthers) {
  std::mt19937 generator(5);
  VectorSet set = set_of("set", {}), one = set_of("one", {}), two = set_of("two", {}),
            three = set_of("three", {});
  for (int block = 0; block < 4; ++block) {
    set.directions[block] = random_direction(generator, 40);
    one.directions[block] = random_direction(generator, 40);
    two.directions[block] = random_direction(generator, 40);
    // Nearly the first of them: a single pass of Gram-Schmidt loses orthogonality here.
    three.directions[block] = one.directions[block];
    three.directions[block][0] += 1e-3f;
  }
  const VectorSet left = orthogonalised(set, {&one, &two, &three});
  for (int block = 0; block < 4; ++block) {
    const auto& v = left.at(block);
    for (const VectorSet* other : {&one, &two, &three}) {
      const auto& w = other->at(block);
      EXPECT_LT(std::abs(dot(v, w)), 1e-6 * std::sqrt(dot(v, v) * dot(w, w)));
    }
    // Only what lay in their span is gone.
    EXPECT_NEAR(dot(v, set.at(block)), dot(v, v), 1e-4 * dot(v, v));
  }
}

TEST(VectorAlgebra, OrthogonalToItselfNothingIsLeft) {
  const VectorSet set = set_of("set", {{2, {1, 2, 3}}});
  const VectorSet twice = scaled(set, 2);
  EXPECT_THAT([&] { orthogonalised(set, {&twice}); },
              ThrowsMessage<ArgumentError>(HasSubstr("set: direction.2: nothing of it is orthogonal")));
  const VectorSet elsewhere = set_of("other", {{1, {1, 2, 3}}});
  EXPECT_EQ(orthogonalised(set, {&elsewhere}).at(2), set.at(2));
}

TEST(VectorAlgebra, RefusesWhatDoesNotGoTogether) {
  VectorSet a = set_of("a", {{0, {1, 2}}}), b = set_of("b", {{0, {1, 2, 3}}}), c = set_of("c", {{0, {1, 2}}});
  EXPECT_THAT(
      [&] {
        weighted_sum({{1, &a}, {1, &b}});
      },
      ThrowsMessage<ArgumentError>(HasSubstr("a has directions of 2 numbers, b of 3")));
  const std::string sketch(64, '0');
  a.model_hash = "llama-2x2-v5-0000000000000001-" + sketch;
  c.model_hash = "llama-2x2-v5-0000000000000002-" + sketch;
  EXPECT_THAT(
      [&] {
        weighted_sum({{1, &a}, {1, &c}});
      },
      ThrowsMessage<ArgumentError>(HasSubstr("a and c were made with different models")));
  EXPECT_THAT([&] { weighted_sum({}); }, ThrowsMessage<ArgumentError>(HasSubstr("nothing to add up")));
  EXPECT_THAT([&] { scaled(a, std::numeric_limits<double>::infinity()); },
              ThrowsMessage<ArgumentError>(HasSubstr("the factor is not finite")));
  c.directions[0][1] = NAN;
  EXPECT_THAT([&] { check(c); }, ThrowsMessage<ArgumentError>(HasSubstr("c: direction.0: NaN at index 1")));
}

TEST(VectorSets, BlocksFromTheEnd) {
  VectorSet set = set_of("v", {{2, {1, 2}}, {3, {3, 4}}});
  set.num_blocks = 4;
  set.layers[3].residual_norm = 7;
  EXPECT_THAT(set.at(-1), ElementsAre(3, 4));
  const SteeringVector vector = set.vector(-1);
  EXPECT_EQ(vector.layer, 3);
  EXPECT_EQ(vector.residual_norm, 7.0f);
  EXPECT_THAT([&] { set.at(1); }, ThrowsMessage<ArgumentError>("v: no direction for block 1; it has 2, 3"));
  VectorSet any = set_of("any", {{0, {1, 2}}});
  any.any_block = true;
  EXPECT_THAT(any.at(9), ElementsAre(1, 2));
  EXPECT_EQ(any.vector(9).layer, std::nullopt);
}

TEST(ModelHash, TellsModelsApartAndCopiesNot) {
  const auto llama = golden("llama"), draft = golden("llama_draft"), again = golden("llama");
  const std::string hash = model_hash(*llama);
  EXPECT_THAT(hash, HasSubstr("llama-"));
  EXPECT_EQ(hash, model_hash(*again));
  EXPECT_TRUE(same_model(hash, hash));
  // The same weights with 15% of noise are another model.
  EXPECT_FALSE(same_model(hash, model_hash(*draft)));
  EXPECT_FALSE(same_model(hash, model_hash(*golden("qwen3"))));
  EXPECT_FALSE(same_model("made elsewhere", "made elsewhere"));
  // What quantising does: some bits of the sketch.
  std::string near = hash;
  near.replace(near.size() - 4, 4, near.substr(near.size() - 4) == "ffff" ? "0000" : "ffff");
  EXPECT_TRUE(same_model(hash, near));
  std::string far = hash;
  for (size_t i = far.size() - 64; i < far.size(); ++i) far[i] = far[i] == 'f' ? '0' : 'f';
  EXPECT_FALSE(same_model(hash, far));
}

TEST(ModelHash, AVectorForAnotherModelIsRefusedUnlessAsked) {
  const auto llama = golden("llama");
  const int hidden = llama->components().hidden_size, blocks = llama->components().num_blocks;
  VectorSet set = set_of("v.safetensors", {{1, std::vector<float>(static_cast<size_t>(hidden), 1.0f)}});
  check_fits(set, *llama, false, "--any-model");
  set.model_hash = model_hash(*llama);
  check_fits(set, *llama, false, "--any-model");
  set.model_hash = model_hash(*golden("llama_draft"));
  EXPECT_THAT([&] { check_fits(set, *llama, false, "--any-model"); },
              ThrowsMessage<ArgumentError>(
                  testing::AllOf(HasSubstr("v.safetensors: model_hash: made with another model"),
                                 HasSubstr("--any-model uses it all the same"))));
  check_fits(set, *llama, true, "--any-model");
  set.directions[blocks] = set.directions[1];
  EXPECT_THAT([&] { check_fits(set, *llama, true, "--any-model"); },
              ThrowsMessage<ArgumentError>(HasSubstr("the model has " + std::to_string(blocks) + " blocks")));
  VectorSet small = set_of("small", {{0, {1, 2}}});
  EXPECT_THAT(
      [&] { check_fits(small, *llama, true, "--any-model"); },
      ThrowsMessage<ArgumentError>(HasSubstr("small: directions of 2 numbers, but the model's stream has")));
}

}  // namespace
}  // namespace genkit::steering

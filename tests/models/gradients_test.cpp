// Gradients of whole models with respect to their weights.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "genkit/ops/loss.h"
#include "tests/models/golden_model.h"
#include "tests/models/graph_nodes.h"

namespace genkit::test {
namespace {

using Arrays = std::vector<mx::array>;

/// A model's weights as a list, and the model as a function of them.
struct Parameters {
  nlohmann::json config;
  std::vector<std::string> names;
  Arrays values;

  explicit Parameters(const std::string& model) {
    io::Checkpoint checkpoint = io::Checkpoint::open(golden_folder(model));
    config = checkpoint.config();
    for (const std::string& name : checkpoint.names()) {
      names.push_back(name);
      values.push_back(checkpoint.take_dense(name, checkpoint.shape(name)));
    }
  }

  std::unique_ptr<models::Model> model(const Arrays& with) const {
    std::map<std::string, mx::array> tensors;
    for (size_t i = 0; i < names.size(); ++i) tensors.emplace(names[i], with[i]);
    io::Checkpoint checkpoint = io::Checkpoint::of_arrays(config, tensors);
    return models::load_model(checkpoint);
  }

  std::vector<int> all() const {
    std::vector<int> numbers(names.size());
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i);
    return numbers;
  }
};

/// Packed rows and what each token is to be followed by; -1 where nothing is.
struct Batch {
  std::vector<std::vector<int32_t>> rows;
  std::vector<int32_t> targets;
  int supervised = 0;
};

Batch batch_of(const nlohmann::json& test) {
  Batch batch;
  const auto ids = test.at("input_ids"), mask = test.at("attention_mask"), labels = test.at("labels");
  for (size_t r = 0; r < ids.size(); ++r) {
    auto& row = batch.rows.emplace_back();
    for (size_t t = 0; t < ids[r].size(); ++t) {
      if (mask[r][t] == 0) continue;
      row.push_back(ids[r][t]);
      const bool followed = t + 1 < ids[r].size() && mask[r][t + 1] == 1 && labels[r][t + 1] >= 0;
      batch.targets.push_back(followed ? labels[r][t + 1].get<int32_t>() : -1);
      batch.supervised += followed;
    }
  }
  return batch;
}

/// (1 - e) * nll + e * mean over the vocabulary of -logprob, averaged over the supervised positions.
mx::array loss_of(const models::Model& model, const Batch& batch, float smoothing) {
  const mx::array logits = *model.forward(packed(batch.rows, models::LogitsFor::kAll)).logits;
  const int tokens = logits.shape(0);
  const mx::array targets(batch.targets.begin(), {tokens}, mx::int32);
  const mx::array count(static_cast<float>(batch.supervised));
  const mx::array nll = mx::divide(mx::sum(ops::cross_entropy(logits, targets)), count);
  if (smoothing == 0.0f) return nll;
  const mx::array counts = mx::astype(mx::greater_equal(targets, mx::array(0)), mx::float32);
  const mx::array spread = mx::mean(ops::log_softmax(logits), -1);
  const mx::array flat = mx::divide(mx::sum(mx::negative(mx::multiply(spread, counts))), count);
  return mx::add(mx::multiply(mx::array(1.0f - smoothing), nll), mx::multiply(mx::array(smoothing), flat));
}

TEST(Gradients, OfTheLossEqualTorchs) {
  const auto folder = golden_folder("llama").parent_path().parent_path();
  const auto file = nlohmann::json::parse(std::ifstream(folder / "training.json"));
  const auto tensors = mx::load_safetensors((folder / file.at("tensors_file")).string()).first;
  int cases = 0;
  for (const auto& test : file.at("cases")) {
    if (test.at("kind") != "loss_and_gradients") continue;
    SCOPED_TRACE(test.at("name"));
    ++cases;
    const Parameters parameters(test.at("model"));
    const Batch batch = batch_of(test);
    const auto& expected = test.at("expected");
    EXPECT_EQ(batch.supervised, expected.at("supervised_positions"));
    const auto loss = [&](const Arrays& with) {
      return loss_of(*parameters.model(with), batch, test.at("label_smoothing"));
    };
    const auto [value, gradients] = mx::value_and_grad(loss, parameters.all())(parameters.values);
    EXPECT_THAT(slow_nodes(gradients), ::testing::IsEmpty());
    EXPECT_NEAR(mx::array(value).item<float>(), expected.at("loss").get<float>(), 1e-5);
    mx::array squares(0.0f);
    for (size_t i = 0; i < gradients.size(); ++i) {
      squares = mx::add(squares, mx::sum(mx::square(gradients[i])));
      const auto& recorded = expected.at("gradients");
      if (!recorded.contains(parameters.names[i])) continue;
      mx::array truth = tensors.at(recorded.at(parameters.names[i]));
      // gpt2's files keep these matrices the other way round.
      if (truth.shape() != gradients[i].shape()) truth = mx::transpose(truth);
      const float largest = mx::max(mx::abs(truth)).item<float>();
      EXPECT_LE(max_difference(gradients[i], truth), 1e-4 * largest) << parameters.names[i];
    }
    EXPECT_NEAR(std::sqrt(squares.item<float>()), expected.at("grad_global_norm").get<float>(),
                1e-4 * expected.at("grad_global_norm").get<float>());
  }
  EXPECT_GE(cases, 3);
}

class FamilyGradients : public ::testing::TestWithParam<GoldenModel> {};

// Along a direction, a step of the weights changes the loss by the gradient's share of it.
TEST_P(FamilyGradients, AgreeWithFiniteDifferences) {
  const Parameters parameters(GetParam().name);
  Batch batch;
  batch.rows = {{5, 17, 9, 33, 21, 46, 4, 12, 31, 8, 40, 40}, {44, 3, 9, 27}};
  batch.targets = {17, 9, 33, 21, 46, 4, 12, 31, 8, 40, 40, -1, 3, 9, 27, -1};
  batch.supervised = 14;
  const auto loss = [&](const Arrays& with) { return loss_of(*parameters.model(with), batch, 0.05f); };
  const Arrays gradients = mx::value_and_grad(loss, parameters.all())(parameters.values).second;
  EXPECT_THAT(slow_nodes(gradients), ::testing::IsEmpty());
  // Down the gradient, so that the difference stands out of fp32's rounding of the loss.
  mx::array squares(0.0f);
  for (const mx::array& g : gradients) squares = mx::add(squares, mx::sum(mx::square(g)));
  const float norm = std::sqrt(squares.item<float>());
  ASSERT_GT(norm, 0.0f);
  const auto at = [&](float step) {
    Arrays moved;
    for (size_t i = 0; i < gradients.size(); ++i) {
      moved.push_back(mx::add(parameters.values[i], mx::multiply(gradients[i], mx::array(step / norm))));
      moved.back().eval();
    }
    return double{loss(moved).item<float>()};
  };
  // The loss moves by a twentieth or less: far above its rounding, and nearly along a line.
  const float step = std::min(2e-3f, 0.05f / norm);
  const double slope = (at(step) - at(-step)) / (2.0 * step);
  EXPECT_NEAR(slope, norm, 1e-2 * norm);
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyGradients, ::testing::ValuesIn(golden_models(Configs::kNewest)),
                         golden_name);

}  // namespace
}  // namespace genkit::test

#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "genkit/models/registry.h"

namespace genkit::test {

namespace mx = mlx::core;

/// A folder with a model and its recorded forward passes, and which of its configurations to read.
struct GoldenModel {
  std::string name;    ///< "llama": in tests/goldens/models; "variants/llama_yarn": beside these tests
  bool older = false;  ///< config_v4.json, as transformers 4 writes it
};

enum class Configs : uint8_t { kNewest, kBoth };
/// All that have a forward.json, with one or both of their configurations.
std::vector<GoldenModel> golden_models(Configs configs);
/// For INSTANTIATE_TEST_SUITE_P.
std::string golden_name(const ::testing::TestParamInfo<GoldenModel>& info);
void PrintTo(const GoldenModel& model, std::ostream* out);
std::filesystem::path golden_folder(const std::string& name);
/// Opens and builds one.
std::unique_ptr<models::Model> load(const GoldenModel& model);

models::ForwardInput packed(const std::vector<std::vector<int32_t>>& rows, models::LogitsFor logits);

/// Keeps what passes the places of a forward pass.
class Recorder : public models::ForwardHook {
 public:
  bool wants(models::Site, int) const override { return true; }
  mx::array apply(models::Site site, int layer, const mx::array& x, const models::ForwardInput&) override;

  std::vector<mx::array> hidden;         ///< input of block 0, outputs of all blocks
  std::vector<mx::array> final, logits;  ///< one each
};

/// Largest |a - b|, after evaluating both. Fails the test when the shapes differ.
double max_difference(const mx::array& a, const mx::array& b);
/// 1e-4 * max(1, largest absolute value): the golden set's tolerance.
double tolerance(const mx::array& expected);
/// Greedy choice per row of [rows, vocab].
std::vector<int32_t> greedy(const mx::array& logits);

}  // namespace genkit::test

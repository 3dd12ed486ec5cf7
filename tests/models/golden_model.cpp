#include "tests/models/golden_model.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cstdlib>

namespace genkit::test {

namespace fs = std::filesystem;

fs::path golden_folder(const std::string& name) {
  const std::string own = "variants/";
  if (name.rfind(own, 0) == 0) return fs::path(MLXGK_TEST_DATA) / name;
  // Another set of the same format may be put in its place.
  if (const char* other = std::getenv("MLXGK_GOLDEN_MODELS")) return fs::path(other) / name;
  return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models" / name;
}

std::vector<GoldenModel> golden_models(Configs configs) {
  std::vector<GoldenModel> out;
  for (const std::string set : {"", "variants/"}) {
    for (const auto& entry : fs::directory_iterator(golden_folder(set))) {
      const std::string name = set + entry.path().filename().string();
      if (!fs::exists(entry.path() / "forward.json")) continue;
      out.push_back({name, false});
      if (configs == Configs::kBoth && fs::exists(entry.path() / "config_v4.json"))
        out.push_back({name, true});
    }
  }
  std::sort(out.begin(), out.end(), [](const GoldenModel& a, const GoldenModel& b) {
    return std::pair(a.name, a.older) < std::pair(b.name, b.older);
  });
  return out;
}

std::string golden_name(const ::testing::TestParamInfo<GoldenModel>& info) {
  std::string name = info.param.name + (info.param.older ? "_v4" : "");
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

void PrintTo(const GoldenModel& model, std::ostream* out) { *out << model.name; }

std::unique_ptr<models::Model> load(const GoldenModel& model) {
  const fs::path folder = golden_folder(model.name);
  if (!model.older) {
    io::Checkpoint checkpoint = io::Checkpoint::open(folder);
    return models::load_model(checkpoint);
  }
  // The same weights beside the other configuration.
  const fs::path mixed =
      fs::path(::testing::TempDir()) / ("golden_v4_" + model.name + std::to_string(::getpid()));
  fs::create_directories(mixed);
  for (const auto& [from, to] :
       {std::pair("config_v4.json", "config.json"), {"model.safetensors", "model.safetensors"}}) {
    fs::remove(mixed / to);
    fs::create_symlink(folder / from, mixed / to);
  }
  io::Checkpoint checkpoint = io::Checkpoint::open(mixed);
  auto loaded = models::load_model(checkpoint);
  fs::remove_all(mixed);
  return loaded;
}

models::ForwardInput packed(const std::vector<std::vector<int32_t>>& rows, models::LogitsFor logits) {
  models::ForwardInput input;
  std::vector<int32_t> ids;
  for (const auto& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    input.rows.push_back({.length = static_cast<int>(row.size())});
  }
  input.tokens = mx::array(ids.begin(), mx::Shape{static_cast<int>(ids.size())}, mx::int32);
  input.logits = logits;
  return input;
}

mx::array Recorder::apply(models::Site site, int layer, const mx::array& x, const models::ForwardInput&) {
  switch (site) {
    case models::Site::kTokenEmbedding:
      break;
    case models::Site::kEmbedding:
    case models::Site::kBlock:
      hidden.push_back(x);
      break;
    case models::Site::kFinal:
      final.push_back(x);
      break;
    case models::Site::kLogits:
      logits.push_back(x);
      break;
  }
  return x;
}

double max_difference(const mx::array& a, const mx::array& b) {
  EXPECT_EQ(a.shape(), b.shape());
  if (a.shape() != b.shape()) return INFINITY;
  return mx::max(mx::abs(mx::subtract(a, b))).item<float>();
}

double tolerance(const mx::array& expected) {
  return 1e-4 * std::max(1.0f, mx::max(mx::abs(expected)).item<float>());
}

std::vector<int32_t> greedy(const mx::array& logits) {
  mx::array best = mx::contiguous(mx::astype(mx::argmax(logits, -1), mx::int32));
  best.eval();
  return {best.data<int32_t>(), best.data<int32_t>() + best.size()};
}

}  // namespace genkit::test

#include "genkit/io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "genkit/base/error.h"
#include "genkit/io/safetensors.h"
#include "temp_folder.h"

namespace genkit::io {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TempFolder;

const fs::path kModels = fs::path(MLXGK_TEST_DATA) / ".." / "goldens" / "models";

bool same(const mx::array& a, const mx::array& b) {
  return a.shape() == b.shape() && mx::array_equal(a, b).item<bool>();
}

TEST(Checkpoint, GivesEveryTensorOfAFolderUnderItsName) {
  for (const auto& item : fs::directory_iterator(kModels)) {
    const std::string family = item.path().filename().string();
    SCOPED_TRACE(family);
    Checkpoint checkpoint = Checkpoint::open(item.path());
    EXPECT_EQ(checkpoint.kind(), CheckpointKind::kHuggingFace);
    EXPECT_FALSE(checkpoint.config().at("model_type").is_null());
    EXPECT_FALSE(checkpoint.generation_config().is_null());
    const auto raw = load_safetensors(item.path() / "model.safetensors");
    for (const auto& [name, array] : raw) {
      ASSERT_TRUE(checkpoint.has(name)) << name;
      const bool conv1d =
          family.starts_with("gpt2") && (name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") ||
                                         name.ends_with("c_fc.weight"));
      const mx::array expected = conv1d ? mx::transpose(array) : array;
      EXPECT_TRUE(same(checkpoint.take_dense(name, expected.shape()), expected)) << name;
    }
    EXPECT_EQ(checkpoint.names().size(), raw.size());
    EXPECT_THAT(checkpoint.report().unused, ElementsAre());
  }
}

TEST(Checkpoint, CopiesNothing) {
  const auto path = kModels / "llama";
  Checkpoint checkpoint = Checkpoint::open(path);
  const ops::Weight a = checkpoint.take("model.norm.weight", {64});
  const ops::Weight b = checkpoint.take("model.norm.weight", {64});
  EXPECT_EQ(a.data.data<float>(), b.data.data<float>());
  EXPECT_EQ(a.name, "model.norm.weight");
}

}  // namespace
}  // namespace genkit::io

#include "genkit/steering/store.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "genkit/base/error.h"
#include "genkit/io/safetensors.h"
#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Store : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("genkit_store_" + std::to_string(getpid()) + ".safetensors");
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

TEST_F(Store, KeepsEverythingInAFile) {
  VectorStore store;
  SteeringVector happy = make_vector("", random_array({12}, 1));
  happy.layer = -3;
  happy.unit = AlphaUnit::kRecordedNorm;
  happy.residual_norm = 3.5f;
  happy.model_hash = "abc";
  happy.position = "last";
  happy.notes = {{"method", "mean_difference"}};
  store.set("happy", happy);
  store.set("plain", make_vector("", random_array({4}, 2)));
  const mx::array prompt = random_array({3, 12}, 3);
  store.set_soft_prompt("voice", prompt);
  store.save(path_);
  const VectorStore read = VectorStore::load(path_);
  std::filesystem::remove(path_);  // a store outlives its file
  EXPECT_THAT(read.keys(), ElementsAre("happy", "plain", "voice"));
  const SteeringVector& v = read.vector("happy");
  EXPECT_EQ(v.name, "happy");
  EXPECT_EQ(v.layer, -3);
  EXPECT_EQ(v.unit, AlphaUnit::kRecordedNorm);
  EXPECT_EQ(v.residual_norm, 3.5f);
  EXPECT_EQ(v.model_hash, "abc");
  EXPECT_EQ(v.position, "last");
  EXPECT_EQ(v.notes, happy.notes);
  EXPECT_TRUE(same_bits(v.values, happy.values));
  EXPECT_FALSE(read.vector("plain").layer);
  EXPECT_TRUE(same_bits(read.soft_prompt("voice"), prompt));
}

TEST_F(Store, SaysWhatAFileHasWrong) {
  const auto load = [&](const std::string& metadata, const mx::array& tensor) {
    io::save_safetensors(path_, {{"a", tensor}},
                         metadata.empty()
                             ? std::map<std::string, std::string>{}
                             : std::map<std::string, std::string>{{"genkit.steering.a", metadata}});
    return message_of<FormatError>([&] { VectorStore::load(path_); });
  };
  const mx::array v = random_array({4}, 1);
  EXPECT_THAT(load("", v), HasSubstr(".safetensors: a: has no description (metadata genkit.steering.a)"));
  EXPECT_THAT(load("{", v), HasSubstr("a: line 1"));
  EXPECT_THAT(load(R"({"kind": "cat"})", v), HasSubstr("a: kind: expected vector or soft_prompt"));
  EXPECT_THAT(load(R"({"kind": "vector", "layer": "x"})", v), HasSubstr("a: layer: expected"));
  EXPECT_THAT(load(R"({"kind": "vector", "unit": "metre"})", v),
              HasSubstr("unit: expected absolute, residual or recorded, got metre"));
  EXPECT_THAT(load(R"({"kind": "vector", "leyer": 3})", v), HasSubstr("layer"));
  EXPECT_THAT(load(R"({"kind": "vector"})", random_array({2, 2}, 1)),
              HasSubstr("expected values of shape [hidden]"));
  EXPECT_THAT(load(R"({"kind": "soft_prompt"})", v), HasSubstr("soft prompt `a`: expected"));
}

TEST_F(Store, RefusesKeysAndNumbersThatAreNone) {
  VectorStore store;
  EXPECT_EQ(message_of<ArgumentError>([&] { store.set("", make_vector("", random_array({4}, 1))); }),
            "param_key: expected a name, got an empty one");
  std::vector<float> numbers(8, 1.0f);
  numbers[6] = INFINITY;
  EXPECT_EQ(message_of<ArgumentError>([&] {
              store.set_soft_prompt("p", mx::array(numbers.data(), {2, 4}, mx::float32));
            }),
            "soft prompt `p`: value 2 of token 1 is inf");
  EXPECT_EQ(message_of<ArgumentError>([&] { store.vector("p"); }), "param_key: the store has no vector `p`");
  EXPECT_EQ(message_of<ArgumentError>([] { VectorRef(std::shared_ptr<const VectorStore>(), "p"); }),
            "param_key: given without a store");
}

}  // namespace
}  // namespace genkit::steering

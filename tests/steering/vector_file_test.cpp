// Vector files: what is written is read again, what others write is understood, what is broken is named.
#include "genkit/steering/vector_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "genkit/base/error.h"
#include "genkit/io/gguf_reader.h"
#include "genkit/io/gguf_writer.h"
#include "genkit/io/safetensors.h"

namespace genkit::steering {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

class VectorFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "vectors-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  VectorSet sample() const {
    VectorSet set;
    set.directions = {{0, {1, -2, 0.5f}}, {3, {4, 5, 6}}, {17, {1e-20f, 0, -3e20f}}};
    set.num_blocks = 18;
    set.model_hash = "gemma3_text-18x3-v9-00000000deadbeef-" + std::string(64, 'a');
    set.model_type = "gemma3_text";
    set.method = "mean_difference";
    set.position = "last";
    set.suggested_layer = 3;
    set.layers[3] = {.residual_norm = 12.5, .explained_variance = 0.25, .auc = 1.0, .separation = 3.5};
    set.layers[17].residual_norm = 99;
    return set;
  }
  void expect_file_error(const fs::path& path, const std::string& what,
                         const ReadVectorsOptions& options = {}) {
    EXPECT_THAT(
        [&] { read_vectors(path, options); },
        ThrowsMessage<FormatError>(AllOf(HasSubstr(path.filename().string() + ": "), HasSubstr(what))));
  }
  fs::path save(const std::map<std::string, mx::array>& tensors,
                const std::map<std::string, std::string>& metadata = {}) {
    const fs::path path = folder_ / "foreign.safetensors";
    io::save_safetensors(path, tensors, metadata);
    return path;
  }
  fs::path write_bytes(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  static std::string bytes_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder_;
};

void expect_equal(const VectorSet& a, const VectorSet& b) {
  EXPECT_EQ(a.directions, b.directions);
  EXPECT_EQ(a.any_block, b.any_block);
  EXPECT_EQ(a.suggested_layer, b.suggested_layer);
  EXPECT_EQ(a.num_blocks, b.num_blocks);
  EXPECT_EQ(a.model_hash, b.model_hash);
  EXPECT_EQ(a.model_type, b.model_type);
  EXPECT_EQ(a.method, b.method);
  EXPECT_EQ(a.position, b.position);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (const auto& [block, report] : a.layers) {
    EXPECT_EQ(report.residual_norm, b.layers.at(block).residual_norm);
    EXPECT_EQ(report.explained_variance, b.layers.at(block).explained_variance);
    EXPECT_EQ(report.auc, b.layers.at(block).auc);
    EXPECT_EQ(report.separation, b.layers.at(block).separation);
  }
}

TEST_F(VectorFiles, SafetensorsComeBackBitByBit) {
  const VectorSet set = sample();
  EXPECT_THAT(write_vectors(folder_ / "v.safetensors", set), ElementsAre());
  const VectorSet read = read_vectors(folder_ / "v.safetensors");
  expect_equal(set, read);
  EXPECT_EQ(read.name, "v.safetensors");
  const auto file = io::SafetensorsFile::open(folder_ / "v.safetensors");
  EXPECT_THAT(file->metadata().at("layer_convention"),
              HasSubstr("output of decoder block N, counted from 0"));
}

TEST_F(VectorFiles, ADirectionForAnyBlock) {
  VectorSet set;
  set.directions[0] = {1, 2, 3};
  set.any_block = true;
  write_vectors(folder_ / "any.safetensors", set);
  expect_equal(set, read_vectors(folder_ / "any.safetensors"));
  EXPECT_THAT([&] { write_vectors(folder_ / "any.gguf", set); },
              ThrowsMessage<ArgumentError>(HasSubstr("belongs to no block")));
}

TEST_F(VectorFiles, GgufHasNoPlaceForTheFirstBlock) {
  VectorSet set = sample();
  EXPECT_THAT(write_vectors(folder_ / "v.gguf", set), ElementsAre(0));
  const VectorSet read = read_vectors(folder_ / "v.gguf");
  set.directions.erase(0);
  expect_equal(set, read);
  const auto file = io::GgufFile::open(folder_ / "v.gguf");
  EXPECT_EQ(file->string("general.architecture"), "controlvector");
  EXPECT_EQ(file->string("controlvector.model_hint"), "gemma3_text");
  EXPECT_EQ(file->integer("controlvector.layer_count"), 2);
  ASSERT_NE(file->find_tensor("direction.3"), nullptr);
  VectorSet first;
  first.directions[0] = {1, 2};
  EXPECT_THAT([&] { write_vectors(folder_ / "first.gguf", first); },
              ThrowsMessage<ArgumentError>(HasSubstr("no direction for block 0")));
  EXPECT_FALSE(fs::exists(folder_ / "first.gguf"));
}

// As llama.cpp's cvector-generator and repeng leave them: no metadata of ours.
fs::path control_vector(const fs::path& folder) {
  io::GgufWriter writer;
  writer.add_string("general.architecture", "controlvector");
  writer.add_string("controlvector.model_hint", "llama");
  writer.add_int32("controlvector.layer_count", 2);
  writer.add_tensor("direction.1", {2}, std::vector<float>{1, 2});
  writer.add_tensor("direction.2", {2}, std::vector<float>{3, 4});
  writer.write(folder / "llama.gguf");
  return folder / "llama.gguf";
}

TEST_F(VectorFiles, ControlVectorsOfOthers) {
  const fs::path path = control_vector(folder_);
  const VectorSet added = read_vectors(path);
  EXPECT_EQ(added.model_type, "llama");
  EXPECT_THAT(added.at(1), ElementsAre(1, 2));
  EXPECT_THAT(added.at(2), ElementsAre(3, 4));
  const VectorSet measured = read_vectors(path, {.gguf_layers = GgufLayers::kWhereMeasured});
  EXPECT_THAT(measured.at(0), ElementsAre(1, 2));
  EXPECT_THAT(measured.at(1), ElementsAre(3, 4));
}

TEST_F(VectorFiles, SafetensorsOfOthers) {
  const mx::array rows({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  VectorSet read = read_vectors(save({{"mean_difference", rows}, {"counts", mx::array({1, 2}, {2})}}));
  EXPECT_THAT(read.at(1), ElementsAre(3, 4));
  EXPECT_FALSE(read.any_block);
  read = read_vectors(save({{"v", mx::astype(mx::array({1.5f, -2.0f}, {2}), mx::bfloat16)}}));
  EXPECT_TRUE(read.any_block);
  EXPECT_THAT(read.at(12), ElementsAre(1.5f, -2));
  const fs::path two = save({{"unit", rows}, {"mean", rows}});
  expect_file_error(two, "tensors: several can be meant (mean, unit): name one of them");
  EXPECT_THAT(read_vectors(two, {.tensor = "unit"}).at(0), ElementsAre(1, 2));
  expect_file_error(two, "other: there is no tensor of that name", {.tensor = "other"});
}

TEST_F(VectorFiles, BrokenSafetensors) {
  const mx::array two({1.0f, 2.0f}, {2}), three({1.0f, 2.0f, 3.0f}, {3});
  expect_file_error(save({{"direction.1", two}, {"direction.4", three}}),
                    "direction.4: has 3 numbers, direction.1 has 2");
  expect_file_error(save({{"direction.x", two}}), "direction.x: expected the number of a block");
  expect_file_error(save({{"direction.01", two}}), "direction.01: expected the number of a block");
  expect_file_error(save({{"direction.99999999999", two}}), "expected the number of a block");
  expect_file_error(save({{"direction.-1", two}}), "direction.-1: expected the number of a block");
  expect_file_error(save({{"direction.1", mx::array({1.0f, NAN}, {2})}}), "direction.1: NaN at index 1");
  expect_file_error(save({{"direction.1", mx::array({INFINITY, 1.0f}, {2})}}),
                    "direction.1: an infinity at index 0");
  expect_file_error(save({{"direction.1", mx::array({1, 2}, {2})}}),
                    "direction.1: expected floating-point numbers");
  expect_file_error(save({{"direction.1", mx::reshape(two, {1, 2})}}),
                    "direction.1: expected one dimension, got 2");
  expect_file_error(save({{"n", mx::array({1, 2}, {2})}}), "tensors: none that can be a steering vector");
  expect_file_error(save({{"v", mx::zeros({2, 0})}}), "v: is empty");
  expect_file_error(write_bytes("short.safetensors", "abc"), "header");
  EXPECT_THROW(read_vectors(folder_ / "none.safetensors"), IoError);
}

TEST_F(VectorFiles, BrokenMetadata) {
  const auto with = [&](const std::string& key, const std::string& value) {
    return save({{"direction.1", mx::array({1.0f, 2.0f}, {2})}},
                {{"format", "mlx_genkit.steering_vectors"}, {key, value}});
  };
  expect_file_error(with("format_version", "2"), "format_version: expected \"1\", got \"2\"");
  expect_file_error(with("site", "logits"), "site: expected \"block\", got \"logits\"");
  expect_file_error(with("num_blocks", "1"), "num_blocks: says 1, but there is a direction.1");
  expect_file_error(with("num_blocks", "many"),
                    "num_blocks: expected an integer in [1, 10000], got \"many\"");
  expect_file_error(with("hidden_size", "3"), "hidden_size: says 3, the directions have 2");
  expect_file_error(with("suggested_layer", "5"), "suggested_layer: there is no direction.5");
  expect_file_error(with("layers", "[]"), "layers: expected an object");
  expect_file_error(with("layers", R"({"1": {"auc": 2}})"), "layers: 1.auc: ");
  expect_file_error(with("layers", R"({"1": {"aux": 1}})"), "aux");
  expect_file_error(with("layers", R"({"-1": {}})"), "layers: expected an integer");
}

TEST_F(VectorFiles, BrokenGguf) {
  const auto with = [&](const std::string& architecture, const std::string& tensor,
                        std::vector<int64_t> shape, std::vector<float> values) {
    io::GgufWriter writer;
    writer.add_string("general.architecture", architecture);
    writer.add_tensor(tensor, shape, values);
    writer.write(folder_ / "broken.gguf");
    return folder_ / "broken.gguf";
  };
  expect_file_error(with("gemma3", "direction.1", {2}, {1, 2}),
                    "general.architecture: expected \"controlvector\", got \"gemma3\"");
  expect_file_error(with("controlvector", "blk.0.attn_q.weight", {2}, {1, 2}),
                    "blk.0.attn_q.weight: expected tensors named direction.N");
  expect_file_error(with("controlvector", "direction.1", {1, 2}, {1, 2}),
                    "direction.1: expected one dimension, got 2");
  expect_file_error(with("controlvector", "direction.1", {2}, {1, NAN}), "direction.1: NaN at index 1");
  expect_file_error(with("controlvector", "direction.0", {2}, {1, 2}),
                    "direction.0: cvector-generator counts from 1",
                    {.gguf_layers = GgufLayers::kWhereMeasured});
  expect_file_error(control_vector(folder_), "x: tensors of control-vector files are not chosen by name",
                    {.tensor = "x"});
}

TEST_F(VectorFiles, FilesCutShortAnywhereAreErrors) {
  write_vectors(folder_ / "whole.safetensors", sample());
  write_vectors(folder_ / "whole.gguf", sample());
  for (const char* name : {"whole.safetensors", "whole.gguf"}) {
    const std::string whole = bytes_of(folder_ / name);
    for (size_t length = 0; length < whole.size(); length += 7) {
      const fs::path path = write_bytes("cut", whole.substr(0, length));
      try {
        read_vectors(path);
        // A GGUF file may end in padding that belongs to no tensor.
        EXPECT_TRUE(whole.size() - length < 32 && std::string(name).ends_with("gguf"))
            << name << " " << length;
      } catch (const FormatError& error) {
        EXPECT_THAT(error.what(), HasSubstr("cut: "));
      }
    }
  }
}

TEST_F(VectorFiles, FlippedBitsEndInValuesOrErrors) {
  write_vectors(folder_ / "whole.safetensors", sample());
  write_vectors(folder_ / "whole.gguf", sample());
  std::mt19937 generator(3);
  for (const char* name : {"whole.safetensors", "whole.gguf"}) {
    const std::string whole = bytes_of(folder_ / name);
    size_t refused = 0;
    for (int i = 0; i < 300; ++i) {
      std::string changed = whole;
      for (int n = 0; n < 3; ++n)
        changed[generator() % changed.size()] ^= static_cast<char>(1 << (generator() % 8));
      const fs::path path = write_bytes("flipped", changed);
      try {
        check(read_vectors(path));
      } catch (const FormatError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 100u);
  }
}

TEST(GgufWriter, RefusesWhatReadersWould) {
  io::GgufWriter writer;
  const std::vector<float> two = {1, 2};
  writer.add_tensor("a", {2}, two);
  EXPECT_THAT([&] { writer.add_tensor("a", {2}, two); },
              ThrowsMessage<ArgumentError>(HasSubstr("a: there is a tensor of that name")));
  EXPECT_THAT([&] { writer.add_tensor("b", {3}, two); },
              ThrowsMessage<ArgumentError>(HasSubstr("b: 2 numbers do not fit")));
  EXPECT_THAT(
      [&] {
        writer.add_tensor("c", {1, 1, 1, 1, 2}, two);
      },
      ThrowsMessage<ArgumentError>(HasSubstr("one to four dimensions")));
  EXPECT_THROW(writer.write("/no/such/folder/file.gguf"), IoError);
}

}  // namespace
}  // namespace genkit::steering

#include "genkit/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <nlohmann/json.hpp>
#include <random>

#include "genkit/base/error.h"
#include "tests/base/temp_folder.h"

namespace genkit::io {
namespace {

namespace mx = mlx::core;
using test::message_of;
using test::read_all;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string with_header(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

class Safetensors : public ::testing::Test {
 protected:
  std::string format_error(const std::string& bytes) {
    const auto path = folder_.write("m.safetensors", bytes);
    const std::string message = message_of<FormatError>([&] { SafetensorsFile::open(path); });
    const auto at = message.find("m.safetensors");
    return at == std::string::npos ? message : message.substr(at);
  }
  // One tensor "x" described by the rest of the header's object.
  std::string error_of_tensor(const std::string& description, size_t bytes) {
    return format_error(with_header("{\"x\":" + description + "}", std::string(bytes, '\0')));
  }
  TempFolder folder_;
};

TEST_F(Safetensors, WritesAndReadsEveryDtype) {
  const mx::array values = mx::reshape(mx::arange(0, 6, 1, mx::int32), {2, 3});
  std::map<std::string, mx::array> tensors;
  const std::vector<std::pair<std::string, mx::Dtype>> dtypes{
      {"f64", mx::float64}, {"f32", mx::float32}, {"f16", mx::float16}, {"bf16", mx::bfloat16},
      {"i64", mx::int64},   {"i32", mx::int32},   {"i16", mx::int16},   {"i8", mx::int8},
      {"u64", mx::uint64},  {"u32", mx::uint32},  {"u16", mx::uint16},  {"u8", mx::uint8},
      {"bool", mx::bool_}};
  for (const auto& [name, dtype] : dtypes) {
    tensors.emplace(name, mx::astype(values, dtype, mx::Device(mx::Device::cpu)));
  }
  const auto path = folder_.path() / "all.safetensors";
  save_safetensors(path, tensors, {{"format", "mlx"}, {"quote", "\"\n"}});
  const auto file = SafetensorsFile::open(path);
  EXPECT_THAT(file->metadata(), UnorderedElementsAre(Pair("format", "mlx"), Pair("quote", "\"\n")));
  const auto loaded = load_safetensors(path);
  ASSERT_EQ(loaded.size(), dtypes.size());
  for (const auto& [name, dtype] : dtypes) {
    const mx::array& got = loaded.at(name);
    EXPECT_EQ(got.dtype(), dtype) << name;
    EXPECT_EQ(got.shape(), (mx::Shape{2, 3})) << name;
    const mx::Device cpu(mx::Device::cpu);
    EXPECT_TRUE(mx::all(mx::equal(got, tensors.at(name), cpu), cpu).item<bool>()) << name;
  }
}

TEST_F(Safetensors, KeepsScalarsEmptyTensorsAndStridedOnes) {
  const mx::array matrix = mx::reshape(mx::arange(0, 6, 1, mx::float32), {2, 3});
  const auto path = folder_.path() / "odd.safetensors";
  save_safetensors(path, {{"scalar", mx::array(2.5f)},
                          {"empty", mx::zeros({0, 4}, mx::float32)},
                          {"transposed", mx::transpose(matrix)}});
  const auto loaded = load_safetensors(path);
  EXPECT_EQ(loaded.at("scalar").shape(), mx::Shape{});
  EXPECT_EQ(mx::array(loaded.at("scalar")).item<float>(), 2.5f);
  EXPECT_EQ(loaded.at("empty").shape(), (mx::Shape{0, 4}));
  const mx::array t = loaded.at("transposed");
  EXPECT_THAT(std::vector<float>(t.data<float>(), t.data<float>() + 6), ElementsAre(0, 3, 1, 4, 2, 5));
}

// The array looks at the file's bytes in place, and lives on when the file object is gone.
TEST_F(Safetensors, MapsWithoutCopying) {
  const auto path = folder_.path() / "x.safetensors";
  save_safetensors(path, {{"x", mx::arange(0, 4, 1, mx::float32)}});
  auto file = SafetensorsFile::open(path);
  const uint8_t* data = file->tensors().at("x").data;
  mx::array x = file->array("x");
  if (!mx::is_available(mx::Device(mx::Device::gpu))) {
    EXPECT_EQ(x.data<uint8_t>(), data);
  }
  file.reset();
  EXPECT_THAT(std::vector<float>(x.data<float>(), x.data<float>() + 4), ElementsAre(0, 1, 2, 3));
  // MLX must not reuse the memory for a result although nobody else holds the array: the mapping
  // is read-only, so this would crash.
  mx::array y = mx::exp(std::move(x));
  y.eval();
  EXPECT_EQ(y.data<float>()[0], 1.0f);
}

TEST_F(Safetensors, ReadsMisalignedTensors) {
  const float value = 1.5f;
  const std::string data = "\1" + std::string(reinterpret_cast<const char*>(&value), 4);
  const auto path =
      folder_.write("m.safetensors", with_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                                                 data));
  EXPECT_EQ(load_safetensors(path).at("b").item<float>(), 1.5f);
}

TEST_F(Safetensors, RefusesWhatIsNoFile) {
  const auto none = folder_.path() / "none.safetensors";
  EXPECT_EQ(message_of<IoError>([&] { SafetensorsFile::open(none); }),
            none.string() + ": No such file or directory");
  EXPECT_THAT(message_of<IoError>([&] { SafetensorsFile::open(folder_.path()); }),
              HasSubstr("expected a file, got a folder"));
}

TEST_F(Safetensors, RefusesBadHeaders) {
  EXPECT_EQ(format_error("abc"),
            "m.safetensors: header: the file has 3 bytes, less than the 8 of the header's size");
  EXPECT_EQ(format_error(std::string(8, '\xff')),
            "m.safetensors: header: a size of 18446744073709551615 bytes, but the file has 8");
  EXPECT_THAT(format_error(with_header("{\"x\":", "")), HasSubstr("m.safetensors: header: line 1"));
  EXPECT_EQ(format_error(with_header("[]", "")), "m.safetensors: expected an object, got a list");
  EXPECT_THAT(format_error(with_header("{\"x\":{},\"x\":{}}", "")), HasSubstr("x"));
  EXPECT_EQ(format_error(with_header(R"({"__metadata__":null})", "")), "no error");  // MLX writes this
  EXPECT_EQ(format_error(with_header(R"({"__metadata__":{"a":1}})", "")),
            "m.safetensors: __metadata__.a: expected a string, got 1");
  EXPECT_THAT(format_error(with_header(std::string(100000, '['), "")), HasSubstr("m.safetensors: header: "));
  EXPECT_EQ(format_error(with_header("{}", "xyz")),
            "m.safetensors: header: 3 bytes after the last tensor belong to none");
}

TEST_F(Safetensors, RefusesBadTensors) {
  EXPECT_EQ(error_of_tensor(R"({"shape":[1],"data_offsets":[0,4]})", 4), "m.safetensors: x.dtype: missing");
  EXPECT_EQ(error_of_tensor(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]})", 4),
            "m.safetensors: x: dtype F8_E4M3 is not supported");
  EXPECT_THAT(error_of_tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4),
              HasSubstr("m.safetensors: x.shape[0]: expected"));
  EXPECT_EQ(error_of_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4),
            "m.safetensors: x: shape [2] of F32 does not fit its 4 bytes");
  // 2^31 * 2^31 * 2^31 * 4 would be 0 in 64 bits.
  EXPECT_THAT(error_of_tensor(
                  R"({"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,0]})", 0),
              HasSubstr("does not fit its 0 bytes"));
  EXPECT_EQ(error_of_tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})", 4),
            "m.safetensors: x: data_offsets: [0, 8] lie outside the 4 bytes of tensor data");
  EXPECT_EQ(error_of_tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4),
            "m.safetensors: x: data_offsets: expected the first and the end byte");
  EXPECT_EQ(error_of_tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8),
            "m.safetensors: x: data_offsets: leave a hole before the tensor");
  EXPECT_EQ(format_error(with_header(R"({"b":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", "\2")),
            "m.safetensors: b: a BOOL other than 0 and 1");
  EXPECT_EQ(format_error(with_header(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                     R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                                     "abcdef")),
            "m.safetensors: b: data_offsets: overlap another tensor");
}

TEST_F(Safetensors, SurvivesTruncationAndFlippedBits) {
  const auto path = folder_.path() / "good.safetensors";
  save_safetensors(path, {{"x", mx::arange(0, 4, 1, mx::float32)}, {"y", mx::arange(0, 3, 1, mx::int32)}},
                   {{"k", "v"}});
  const std::string good = read_all(path);
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_THAT(format_error(good.substr(0, size)), HasSubstr("m.safetensors: ")) << "cut at " << size;
  }
  std::mt19937 random(2);
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = good;
    for (int flips = 1 + int(random() % 4); flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= char(1 << (random() % 8));
    }
    const std::string message = format_error(bytes);
    if (message != "no error") {
      ASSERT_THAT(message, HasSubstr("m.safetensors: "));
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST_F(Safetensors, AFailedWriteLeavesNothingBehind) {
  const auto path = folder_.path() / "sub" / "x.safetensors";
  EXPECT_EQ(message_of<IoError>([&] {
              save_safetensors(path, {{"x", mx::array(1.0f)}});
            }),
            path.string() + ": cannot write: No such file or directory");
  EXPECT_THAT(
      message_of<ArgumentError>([&] {
        save_safetensors(folder_.path() / "c.safetensors", {{"c", mx::array(std::complex<float>(1, 2))}});
      }),
      HasSubstr("complex"));
  // Found out after the temporary file was begun.
  EXPECT_THAT(message_of<ArgumentError>([&] {
                save_safetensors(folder_.path() / "n.safetensors", {{"\xff", mx::array(1.0f)}});
              }),
              HasSubstr("UTF-8"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(Safetensors, ReplacesAnOlderFileWhileItIsMapped) {
  const auto path = folder_.path() / "x.safetensors";
  save_safetensors(path, {{"x", mx::arange(0, 4, 1, mx::float32)}});
  const auto old = load_safetensors(path);
  save_safetensors(path, {{"x", mx::zeros({4}, mx::float32)}});
  EXPECT_EQ(old.at("x").data<float>()[3], 3.0f);
  EXPECT_EQ(load_safetensors(path).at("x").data<float>()[3], 0.0f);
}

}  // namespace
}  // namespace genkit::io

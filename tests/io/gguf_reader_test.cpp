#include "genkit/io/gguf_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "genkit/base/error.h"
#include "gguf_builder.h"
#include "tests/base/temp_folder.h"

namespace genkit::io {
namespace {

using test::message_of;
using test::TempFolder;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using ::testing::Optional;

class GgufReader : public ::testing::Test {
 protected:
  std::shared_ptr<const GgufFile> open(const GgufBuilder& builder) {
    return GgufFile::open(folder_.write("m.gguf", builder.bytes()));
  }
  // The message without the folder: "m.gguf: FIELD: ...".
  std::string format_error(const std::string& bytes) {
    const auto path = folder_.write("m.gguf", bytes);
    const std::string message = message_of<FormatError>([&] { GgufFile::open(path); });
    const auto at = message.find("m.gguf");
    return at == std::string::npos ? message : message.substr(at);
  }
  std::string format_error(const GgufBuilder& builder) { return format_error(builder.bytes()); }

  TempFolder folder_;
};

GgufBuilder sample() {
  GgufBuilder b;
  b.set("general.architecture", "llama").set("llama.block_count", 2u).set("llama.eps", 0.5f);
  b.set("flag", true).strings("words", {"a", "", "\xe2\x96\x81x"});
  b.array<int32_t>("numbers", GgufType::kInt32, {-1, 2}).array<float>("scores", GgufType::kFloat32, {0.25f});
  b.floats("x.weight", {2, 3}, {0, 1, 2, 3, 4, 5});
  b.tensor("q.weight", {2, 32}, 8, std::string(68, '\1'));
  return b;
}

TEST_F(GgufReader, ReadsValuesOfEveryKind) {
  const auto file = open(sample());
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->string("general.architecture"), "llama");
  EXPECT_EQ(file->integer("llama.block_count"), 2);
  EXPECT_EQ(file->number("llama.eps"), 0.5);
  EXPECT_EQ(file->number("llama.block_count"), 2.0);
  EXPECT_THAT(file->find_bool("flag"), Optional(true));
  EXPECT_THAT(*file->find_strings("words"), ElementsAre("a", "", "\xe2\x96\x81x"));
  EXPECT_THAT(*file->find_integers("numbers"), ElementsAre(-1, 2));
  EXPECT_THAT(*file->find_numbers("scores"), ElementsAre(0.25));
  EXPECT_THAT(*file->find_numbers("numbers"), ElementsAre(-1, 2));
  EXPECT_TRUE(file->is_array("words"));
  EXPECT_FALSE(file->is_array("flag"));
  EXPECT_EQ(file->find_integer("absent"), std::nullopt);
  EXPECT_EQ(file->find_strings("absent"), std::nullopt);
}

TEST_F(GgufReader, ReadsTensorsInOuterFirstOrder) {
  const auto file = open(sample());
  ASSERT_EQ(file->tensors().size(), 2u);
  const GgufTensor* x = file->find_tensor("x.weight");
  ASSERT_NE(x, nullptr);
  EXPECT_THAT(x->shape, ElementsAre(2, 3));
  EXPECT_EQ(x->format, WeightFormat::kF32);
  float last;
  std::memcpy(&last, x->data + 20, 4);
  EXPECT_EQ(last, 5.0f);
  const GgufTensor* q = file->find_tensor("q.weight");
  EXPECT_EQ(q->format, WeightFormat::kQ8_0);
  EXPECT_EQ(q->bytes, 68u);
  EXPECT_EQ(file->find_tensor("y"), nullptr);
}

TEST_F(GgufReader, ReadsEveryIntegerWidthAndRefusesWhatDoesNotFit) {
  GgufBuilder b;
  b.value("u8", GgufType::kUint8, "\xff").value("i8", GgufType::kInt8, "\xff");
  b.value("u16", GgufType::kUint16, "\xff\xff").value("i16", GgufType::kInt16, "\xff\xff");
  b.value("i64", GgufType::kInt64, GgufBuilder::raw(int64_t(-5)));
  b.value("u64", GgufType::kUint64, GgufBuilder::raw(std::numeric_limits<uint64_t>::max()));
  b.value("f64", GgufType::kFloat64, GgufBuilder::raw(0.1));
  const auto file = open(b);
  EXPECT_EQ(file->integer("u8"), 255);
  EXPECT_EQ(file->integer("i8"), -1);
  EXPECT_EQ(file->integer("u16"), 65535);
  EXPECT_EQ(file->integer("i16"), -1);
  EXPECT_EQ(file->integer("i64"), -5);
  EXPECT_EQ(file->number("f64"), 0.1);
  EXPECT_EQ(file->number("u64"), 18446744073709551615.0);
  EXPECT_THAT(message_of<FormatError>([&] { file->integer("u64"); }),
              EndsWith("u64: the number is too large"));
}

TEST_F(GgufReader, GettersNameFileAndKey) {
  const auto file = open(sample());
  const std::string path = file->path().string();
  EXPECT_EQ(message_of<FormatError>([&] { file->integer("llama.x"); }), path + ": llama.x: missing");
  EXPECT_EQ(message_of<FormatError>([&] { file->integer("general.architecture"); }),
            path + ": general.architecture: expected an integer, got a string");
  EXPECT_EQ(message_of<FormatError>([&] { file->string("words"); }),
            path + ": words: expected a string, got an array of strings");
  EXPECT_EQ(message_of<FormatError>([&] { file->find_integers("scores"); }),
            path + ": scores: expected an array of integers, got an array of float32s");
  EXPECT_EQ(message_of<FormatError>([&] { file->find_bool("llama.eps"); }),
            path + ": llama.eps: expected a bool, got a float32");
}

TEST_F(GgufReader, RefusesWhatIsNoFile) {
  EXPECT_EQ(message_of<IoError>([&] { GgufFile::open(folder_.path() / "none.gguf"); }),
            (folder_.path() / "none.gguf").string() + ": No such file or directory");
  EXPECT_EQ(message_of<IoError>([&] { GgufFile::open(folder_.path()); }),
            folder_.path().string() + ": expected a file, got a folder");
}

TEST_F(GgufReader, RefusesOtherFilesAndVersions) {
  EXPECT_EQ(format_error(std::string()),
            "m.gguf: magic: the file ends at byte 0, 4 bytes are needed from byte 0");
  EXPECT_EQ(format_error(std::string("\x7f"
                                     "ELF....")),
            "m.gguf: magic: expected \"GGUF\", got \"\\x7fELF\"");
  GgufBuilder b = sample();
  b.version = 1;
  EXPECT_EQ(format_error(b), "m.gguf: version: expected 2 or 3, got 1");
  b.version = 0x03000000;
  EXPECT_EQ(format_error(b),
            "m.gguf: version: the file is big-endian; only little-endian GGUF files are read");
  b.version = 2;
  EXPECT_EQ(format_error(b), "no error");
}

TEST_F(GgufReader, RefusesCountsAndLengthsThatDoNotFit) {
  GgufBuilder b = sample();
  b.tensor_count = uint64_t(1) << 60;
  EXPECT_THAT(format_error(b), HasSubstr("tensor_count: 1152921504606846976 entries do not fit"));
  b = sample();
  b.pair_count = ~uint64_t(0);
  EXPECT_THAT(format_error(b), HasSubstr("metadata_kv_count: 18446744073709551615 entries do not fit"));
  b = sample();
  b.pair_count += 1;
  EXPECT_THAT(format_error(b), HasSubstr("m.gguf: "));
  b = sample();
  b.value("s", GgufType::kString, GgufBuilder::raw(~uint64_t(0)));
  EXPECT_THAT(format_error(b), HasSubstr("s: a string of 18446744073709551615 bytes, but the file has"));
  b = sample();
  b.value("a", GgufType::kArray, GgufBuilder::raw(uint32_t(8)) + GgufBuilder::raw(uint64_t(1) << 61));
  EXPECT_THAT(format_error(b), HasSubstr("a: an array of 2305843009213693952 elements, but the file has"));
  b = sample();
  b.value("a", GgufType(77), "");
  EXPECT_EQ(format_error(b), "m.gguf: a: unknown value type 77");
  b = sample();
  b.value("b", GgufType::kBool, "\2");
  EXPECT_EQ(format_error(b), "m.gguf: b: expected a bool of 0 or 1, got 2");
}

TEST_F(GgufReader, RefusesDeepArraysButReadsShallowOnes) {
  const auto nested = [](int depth) {
    std::string bytes;
    for (int i = 0; i < depth; ++i) bytes += GgufBuilder::raw(uint32_t(9)) + GgufBuilder::raw(uint64_t(1));
    return bytes + GgufBuilder::raw(uint32_t(4)) + GgufBuilder::raw(uint64_t(1)) + GgufBuilder::raw(7u);
  };
  GgufBuilder b = sample();
  b.value("deep", GgufType::kArray, nested(100000));
  EXPECT_EQ(format_error(b), "m.gguf: deep: arrays nested more than 4 deep");
  b = sample();
  b.value("nested", GgufType::kArray, nested(1));
  const auto file = open(b);
  EXPECT_THAT(message_of<FormatError>([&] { file->find_integers("nested"); }),
              EndsWith("nested: expected an array of integers, got an array"));
}

TEST_F(GgufReader, RefusesDuplicateNames) {
  EXPECT_EQ(format_error(sample().set("flag", false)), "m.gguf: flag: the key occurs twice");
  EXPECT_EQ(format_error(sample().floats("x.weight", {1}, {1})),
            "m.gguf: x.weight: two tensors have this name");
}

TEST_F(GgufReader, RefusesImpossibleTensors) {
  const auto with = [&](const std::vector<uint64_t>& shape, uint32_t type) {
    return format_error(sample().tensor("t", shape, type, std::string(64, '\0')));
  };
  EXPECT_EQ(with({}, 0), "m.gguf: t: expected 1 to 4 dimensions, got 0");
  EXPECT_EQ(with({1, 1, 1, 1, 1}, 0), "m.gguf: t: expected 1 to 4 dimensions, got 5");
  EXPECT_EQ(with({4, 0}, 0), "m.gguf: t: dimension 0 is 0, expected 1 to 2147483647");
  EXPECT_EQ(with({uint64_t(1) << 40}, 0),
            "m.gguf: t: dimension 0 is 1099511627776, expected 1 to 2147483647");
  EXPECT_EQ(with({2, 48}, 8), "m.gguf: t: rows of 48 numbers are no whole number of Q8_0 blocks of 32");
  EXPECT_EQ(with({1}, 99), "m.gguf: t: unknown tensor type 99");
  // 2^31 * 2^31 * 2^31 * 4 bytes overflow 64 bits.
  EXPECT_THAT(with({2147483647, 2147483647, 2147483647}, 0),
              HasSubstr("t: shape [2147483647, 2147483647, 2147483647] of F32 does not fit into a file of"));
  EXPECT_THAT(with({17}, 0), HasSubstr("t: 68 bytes at offset 128 lie outside"));
}

TEST_F(GgufReader, KeepsTensorsOfTypesItDoesNotReadByName) {
  GgufBuilder b = sample();
  b.tensor("iq.weight", {1, 256}, 16, std::string(66, '\0'));
  const auto file = open(b);
  const GgufTensor* t = file->find_tensor("iq.weight");
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t->format, std::nullopt);
  EXPECT_EQ(t->type_name, "IQ2_XXS");
  EXPECT_EQ(t->data, nullptr);
}

TEST_F(GgufReader, RefusesOffsetsThatAreWrong) {
  const auto at = [&](uint64_t offset) {
    return format_error(sample().tensor_at("t", {1}, 0, offset, std::string(64, '\0')));
  };
  EXPECT_EQ(at(7), "m.gguf: t: offset 7 is no multiple of the alignment 32");
  EXPECT_THAT(at(~uint64_t(0) - 31), HasSubstr("lie outside the"));
  EXPECT_THAT(at(32), HasSubstr("t: overlaps q.weight in the file"));
  GgufBuilder b = sample();
  b.set("general.alignment", 48u);
  EXPECT_EQ(format_error(b), "m.gguf: general.alignment: expected a power of two, got 48");
  GgufBuilder wide;
  wide.alignment = 64;
  wide.set("general.alignment", 64u).floats("a", {1}, {1}).floats("b", {1}, {2});
  const auto file = open(wide);
  EXPECT_EQ(file->find_tensor("b")->data - file->find_tensor("a")->data, 64);
}

// Cut at any byte the file is refused with a message, never read past its end.
TEST_F(GgufReader, RefusesEveryTruncation) {
  const std::string bytes = sample().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_THAT(format_error(bytes.substr(0, size)), HasSubstr("m.gguf: ")) << "cut at " << size;
  }
}

// With any bits flipped the file is read or refused with a typed error.
TEST_F(GgufReader, SurvivesFlippedBits) {
  const std::string good = sample().bytes();
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = good;
    for (int flips = 1 + int(random() % 4); flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= char(1 << (random() % 8));
    }
    const auto path = folder_.write("flipped.gguf", bytes);
    try {
      const auto file = GgufFile::open(path);
      for (const auto& [key, value] : file->metadata()) {
        if (value.type == GgufType::kArray && value.element == GgufType::kString) file->find_strings(key);
      }
      for (const GgufTensor& t : file->tensors()) {
        if (t.data != nullptr) ASSERT_LE(t.data + t.bytes, file->file()->data() + file->file()->size());
      }
    } catch (const FormatError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 200);
}

}  // namespace
}  // namespace genkit::io

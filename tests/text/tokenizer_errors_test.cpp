#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "genkit/base/error.h"
#include "genkit/text/tokenizer.h"
#include "tests/base/temp_folder.h"
#include "tests/text/golden_file.h"

namespace genkit::text {
namespace {

using test::TempFolder;

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Ids = std::vector<int32_t>;

std::string slurp(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

template <typename Exception, typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "no error";
}

std::string load_error(const std::string& content) {
  const TempFolder folder;
  folder.write("tokenizer.json", content);
  return message_of<FormatError>([&] { Tokenizer::load(folder.path()); });
}

TEST(TokenizerErrors, PathsThatHoldNoTokenizer) {
  const TempFolder folder;
  const std::string name = folder.path().string();
  EXPECT_EQ(message_of<IoError>([&] { Tokenizer::load(folder.path()); }),
            name + ": no tokenizer.json in this folder");
  EXPECT_EQ(message_of<IoError>([&] { Tokenizer::load(folder.path() / "x"); }),
            name + "/x: no such file or folder");
  const auto file = folder.write("notes.txt", "x");
  EXPECT_EQ(message_of<ArgumentError>([&] { Tokenizer::load(file); }),
            name + "/notes.txt: expected a folder with tokenizer.json or a .gguf file");
}

TEST(TokenizerErrors, WrongTokenizerJson) {
  EXPECT_EQ(load_error(""), "tokenizer.json: EOF while parsing a value at line 1 column 0");
  EXPECT_THAT(load_error("[]"), StartsWith("tokenizer.json: invalid type: sequence"));
  EXPECT_THAT(load_error("{}"), HasSubstr("tokenizer.json: "));
  EXPECT_THAT(load_error(R"({"model": 3})"), HasSubstr("a tokenizer model: an object"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "merges": []}})"), HasSubstr("model.vocab: missing"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {}}})"), HasSubstr("model.merges: missing"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": [], "merges": []}})"),
              HasSubstr("model.vocab: an object from tokens to ids"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})"),
              HasSubstr("invalid value: integer `-1`"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}})"),
              HasSubstr("model.vocab: id 4294967295 is too large"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}})"),
              HasSubstr("model.merges: \"a\" is not two tokens"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a", "a"]]}})"),
              HasSubstr("model.merges: a merge that is not two tokens"));
  EXPECT_THAT(load_error(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a q"]}})"),
              HasSubstr("model: Token `q` out of vocabulary"));
  EXPECT_THAT(load_error(R"({"model": {"type": "Nonesuch"}})"), HasSubstr("tokenizer.json: "));
  EXPECT_THAT(load_error(R"({"version": "9.9", "model": {"type": "BPE", "vocab": {}, "merges": []}})"),
              HasSubstr("Unknown tokenizer version '9.9'"));
}

TEST(TokenizerErrors, TruncatedTokenizerJson) {
  const std::string whole = slurp(test_data("goldens/tokenizers/spbpe_gemma/tokenizer.json"));
  std::mt19937 random(3);
  for (int i = 0; i < 40; ++i) {
    const size_t size = random() % (whole.size() - 2);
    EXPECT_THAT(load_error(whole.substr(0, size)), StartsWith("tokenizer.json: ")) << size;
  }
}

/// Whatever stands in the file: it loads or it is refused, and what loads encodes or refuses.
void try_tokenizer(const TempFolder& folder, const std::string& content) {
  folder.write("tokenizer.json", content);
  try {
    const auto tokenizer = Tokenizer::load(folder.path());
    const Ids ids = tokenizer->encode("Hello 世界 1234 <bos>\n  it's");
    tokenizer->decode(ids, true);
    for (int32_t id = 0; id < std::min(tokenizer->vocab_size(), 40); ++id) tokenizer->token_bytes(id);
  } catch (const Error& error) {
    EXPECT_STRNE(error.what(), "");
  }
}

TEST(TokenizerErrors, FlippedBytes) {
  std::mt19937 random(4);
  for (const char* name : {"bytebpe_chatml", "bytebpe_llama3", "spbpe_gemma", "unigram_metaspace"}) {
    const TempFolder folder;
    const std::string whole = slurp(test_data("goldens/tokenizers/" + std::string(name) + "/tokenizer.json"));
    for (int round = 0; round < 150; ++round) {
      std::string broken = whole;
      for (unsigned flips = 1 + random() % 4; flips-- > 0;) {
        // The pipeline stands in front of the vocabulary: half of the flips go there.
        const size_t range = random() % 2 == 0 ? std::min<size_t>(4000, broken.size()) : broken.size();
        broken[random() % range] =
            static_cast<char>(random() % 2 == 0 ? random() % 256 : "0123456789\",:{}[]-"[random() % 18]);
      }
      try_tokenizer(folder, broken);
    }
  }
}

TEST(TokenizerErrors, NumbersOutOfPlace) {
  const TempFolder folder;
  const std::string name = "goldens/tokenizers/unigram_metaspace/tokenizer.json";
  nlohmann::json file = golden_json(name);
  for (const nlohmann::json& value : {nlohmann::json(-1), nlohmann::json(1e300), nlohmann::json(1u << 30),
                                      nlohmann::json("x"), nlohmann::json()}) {
    for (const char* key : {"unk_id", "vocab", "type", "byte_fallback"}) {
      nlohmann::json broken = file;
      broken["model"][key] = value;
      try_tokenizer(folder, broken.dump());
    }
    for (const char* key :
         {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "padding"}) {
      nlohmann::json broken = file;
      broken[key] = value;
      try_tokenizer(folder, broken.dump());
    }
  }
}

TEST(TokenizerErrors, TextThatIsNoUtf8) {
  const auto tokenizer = golden_tokenizer("bytebpe_chatml");
  EXPECT_EQ(message_of<ArgumentError>([&] { tokenizer->encode("abc\xFF"); }),
            "text: invalid UTF-8 at byte 3");
  EXPECT_EQ(message_of<ArgumentError>([&] { tokenizer->encode_with_offsets("\xC0\xAF"); }),
            "text: invalid UTF-8 at byte 0");
  EXPECT_EQ(message_of<ArgumentError>([&] { tokenizer->encode("é\xE6\x97"); }),
            "text: invalid UTF-8 at byte 2");
  EXPECT_EQ(message_of<ArgumentError>([&] {
              tokenizer->encode_batch({"fine", "no\x80"});
            }),
            "texts[1]: invalid UTF-8 at byte 2");
}

TEST(TokenizerErrors, ZeroBytesAreText) {
  const std::string text("a\0b\0", 4);
  for (const char* name : {"bytebpe_chatml", "bytebpe_llama3", "spbpe_gemma"}) {
    const auto tokenizer = golden_tokenizer(name);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false)), text) << name;
  }
}

TEST(TokenizerErrors, IdsOutsideTheVocabulary) {
  const auto tokenizer = golden_tokenizer("bytebpe_chatml");
  const int size = tokenizer->vocab_size();
  const std::string suffix = " is not in the vocabulary of " + std::to_string(size) + " tokens";
  EXPECT_EQ(message_of<ArgumentError>([&] {
              tokenizer->decode(Ids{1, 2, size});
            }),
            "ids[2]: " + std::to_string(size) + suffix);
  EXPECT_EQ(message_of<ArgumentError>([&] { tokenizer->decode(Ids{-1}); }), "ids[0]: -1" + suffix);
  EXPECT_EQ(tokenizer->id_to_token(size), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer->token_bytes(size), "");
  EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->token_to_id("\xFF"), std::nullopt);
}

TEST(Tokenizer, OneTokenizerOnSeveralThreads) {
  for (const char* name : {"bytebpe_llama3", "spbpe_gemma", "unigram_metaspace"}) {
    const auto tokenizer = golden_tokenizer(name);
    std::vector<std::string> texts;
    const nlohmann::json file = golden_json("goldens/tokenizers.json");
    for (const auto& c : file["cases"]) {
      if (c.contains("text")) texts.push_back(c["text"]);
    }
    std::vector<Ids> expected;
    for (const auto& text : texts) expected.push_back(tokenizer->encode(text));
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < texts.size(); ++i) {
          const size_t k = (i * 7 + t * 13) % texts.size();
          const Ids ids = t == 3 ? tokenizer->encode_batch({texts[k]})[0] : tokenizer->encode(texts[k]);
          if (ids != expected[k]) ++wrong;
          if (tokenizer->decode(ids) != tokenizer->decode(expected[k])) ++wrong;
          if (!ids.empty()) tokenizer->token_bytes(ids[0]);
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << name;
  }
}

TEST(Tokenizer, TokenBytes) {
  const auto bytes = golden_tokenizer("bytebpe_chatml");
  const Ids emoji = bytes->encode("😀", false);
  std::string joined;
  for (const int32_t id : emoji) joined += bytes->token_bytes(id);
  EXPECT_EQ(joined, "😀");
  EXPECT_EQ(bytes->token_bytes(bytes->token_to_id("\u0120m").value()), " m");
  EXPECT_EQ(bytes->token_bytes(bytes->token_to_id("<|im_end|>").value()), "<|im_end|>");
  for (int byte = 0; byte < 256; ++byte) {
    // Every byte is a token, spelled by one letter.
    const Ids ids = bytes->encode(std::string(1, static_cast<char>(byte & 0x7F)), false);
    ASSERT_EQ(ids.size(), 1U);
    EXPECT_EQ(bytes->token_bytes(ids[0]), std::string(1, static_cast<char>(byte & 0x7F)));
  }
  const auto fallback = golden_tokenizer("spbpe_gemma");
  EXPECT_EQ(fallback->token_bytes(fallback->token_to_id("<0xE6>").value()), "\xE6");
  EXPECT_EQ(fallback->token_bytes(fallback->token_to_id("\u2581").value()), " ");
  EXPECT_EQ(fallback->token_bytes(fallback->token_to_id("<bos>").value()), "<bos>");
  const auto words = golden_tokenizer("unigram_metaspace");
  EXPECT_EQ(words->token_bytes(words->token_to_id("\u2581").value()), " ");
}

}  // namespace
}  // namespace genkit::text

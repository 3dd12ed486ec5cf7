#include "genkit/text/stream_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "genkit/text/text_streamer.h"
#include "tests/text/golden_file.h"

namespace genkit::text {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

const char* const kTokenizers[] = {"bytebpe_chatml", "bytebpe_llama3", "spbpe_gemma", "unigram_metaspace"};

std::vector<std::string> streamer_chunks(TextStreamer streamer, std::span<const int32_t> ids, size_t prompt) {
  std::vector<std::string> chunks;
  for (const int32_t id : ids.subspan(prompt)) chunks.push_back(streamer.put(id));
  chunks.push_back(streamer.end());
  return chunks;
}

TEST(StreamGoldens, EveryCase) {
  const Json file = golden_json("goldens/streaming.json");
  size_t checked = 0;
  for (const Json& c : file["cases"]) {
    const std::string name = c["name"];
    SCOPED_TRACE(name);
    const auto tokenizer = golden_tokenizer(name);
    const Ids ids = c["ids"];
    EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>()), ids);
    DecodeStream stream(tokenizer);
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(tokenizer->decode(std::span(ids).first(i + 1), true), c["prefix_decodes"][i]);
      const auto piece = stream.step(ids[i]);
      EXPECT_EQ(piece ? Json(*piece) : Json(), c["decode_stream_steps"][i]) << "step " << i;
    }
    EXPECT_EQ(Json(streamer_chunks(TextStreamer(tokenizer), ids, 0)), c["text_streamer_chunks"]);
    EXPECT_EQ(Json(streamer_chunks(TextStreamer(tokenizer), ids, 2)),
              c["text_streamer_skip_prompt_2_chunks"]);
    ++checked;
  }
  EXPECT_EQ(checked, 40U);
}

/// Joins the pieces, each of which must be valid UTF-8 for itself.
std::string joined(const std::shared_ptr<const Tokenizer>& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_FALSE(find_invalid_utf8(piece)) << "token " << id;
    text += piece;
  }
  const std::string rest = decoder.finish();
  EXPECT_FALSE(find_invalid_utf8(rest));
  return text + rest;
}

TEST(StreamDecoder, EqualsTheFullDecodeOfRandomIds) {
  std::mt19937 random(20);
  for (const std::string name : kTokenizers) {
    const auto tokenizer = golden_tokenizer(name);
    for (int round = 0; round < 2000; ++round) {
      Ids ids(1 + random() % 24);
      for (auto& id : ids)
        id = static_cast<int32_t>(random() % static_cast<unsigned>(tokenizer->vocab_size()));
      const bool skip = round % 2 == 0;
      ASSERT_EQ(joined(tokenizer, ids, skip), tokenizer->decode(ids, skip)) << name << " " << Json(ids);
    }
  }
}

TEST(StreamDecoder, EqualsTheFullDecodeOfRandomBytes) {
  std::mt19937 random(21);
  const auto tokenizer = golden_tokenizer("spbpe_gemma");
  Ids bytes;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    if (tokenizer->id_to_token(id).value_or("").starts_with("<0x")) bytes.push_back(id);
  }
  ASSERT_EQ(bytes.size(), 256U);
  const Ids words = tokenizer->encode("héllo 日本 , it 's", false);
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    while (ids.size() < 12) {
      if (random() % 3 == 0) {
        ids.push_back(words[random() % words.size()]);
      } else {
        ids.push_back(bytes[random() % 2 == 0 ? random() % 256 : 0x80 + random() % 64]);
      }
    }
    ASSERT_EQ(joined(tokenizer, ids, true), tokenizer->decode(ids, true)) << Json(ids);
  }
}

TEST(StreamDecoder, CleansUpSpacesAsTheFullDecodeDoes) {
  std::mt19937 random(22);
  const auto tokenizer = golden_tokenizer("unigram_metaspace");
  ASSERT_TRUE(tokenizer->cleans_up());
  const std::string parts[] = {" ", "'", "n", "t", "m", "s", "ve", "re", ".", "?", "!", ",", "do", "  "};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 14; ++i) text += parts[random() % std::size(parts)];
    Ids ids;
    for (const char c : text) {
      const std::string piece = c == ' ' ? "\u2581" : std::string(1, c);
      if (const auto id = tokenizer->token_to_id(piece)) ids.push_back(*id);
    }
    ASSERT_EQ(joined(tokenizer, ids, true), tokenizer->decode(ids, true)) << text;
  }
}

TEST(StreamDecoder, HoldsBackAnUnfinishedCharacterOnly) {
  const auto tokenizer = golden_tokenizer("bytebpe_chatml");
  const Ids ids = tokenizer->encode("a😀b", false);
  ASSERT_EQ(ids.size(), 5U);
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(ids[0]), "a");
  EXPECT_EQ(decoder.push(ids[1]), "");
  EXPECT_EQ(decoder.push(ids[2]), "");
  EXPECT_EQ(decoder.push(ids[3]), "😀");
  EXPECT_EQ(decoder.push(ids[1]), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.push(ids[4]), "b");
}

TEST(StreamDecoder, SkipsSpecialTokensOnRequest) {
  const auto tokenizer = golden_tokenizer("spbpe_gemma");
  const Ids ids = tokenizer->encode("<bos>Hi");
  EXPECT_EQ(joined(tokenizer, ids, true), "Hi");
  EXPECT_EQ(joined(tokenizer, ids, false), "<bos><bos>Hi");
}

TEST(StreamDecoder, AnIdWithoutATokenIsNoText) {
  for (const std::string name : kTokenizers) {
    const auto tokenizer = golden_tokenizer(name);
    StreamDecoder decoder(tokenizer);
    EXPECT_EQ(decoder.push(tokenizer->vocab_size() + 3) + decoder.push(-1) + decoder.finish(), "");
  }
}

}  // namespace
}  // namespace genkit::text

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "genkit/text/tokenizer.h"
#include "tests/text/golden_file.h"

namespace genkit::text {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

void check_encode(const Tokenizer& tokenizer, const Json& c) {
  const std::string text = c["text"];
  const Ids ids = c["ids"];
  const Ids full = c["ids_with_special_tokens"];
  EXPECT_EQ(tokenizer.encode(text, false), ids);
  EXPECT_EQ(tokenizer.encode(text), full);
  const auto [same_ids, offsets] = tokenizer.encode_with_offsets(text, false);
  EXPECT_EQ(same_ids, ids);
  EXPECT_EQ(offsets, (c["offsets"].get<std::vector<std::pair<int, int>>>()));
  EXPECT_EQ(tokenizer.decode(full), c["decoded"]);
  EXPECT_EQ(tokenizer.decode(full, true), c["decoded_skip_special_tokens"]);
  EXPECT_EQ(tokenizer.decode(full, true, true), c["decoded_clean_up"]);
  EXPECT_EQ(tokenizer.decode(full, true, false), c["decoded_no_clean_up"]);
}

void check_decode(const Tokenizer& tokenizer, const Json& c) {
  const Ids ids = c["ids"];
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(tokenizer.id_to_token(ids[i]), c["tokens"][i].get<std::string>());
    EXPECT_EQ(tokenizer.token_to_id(c["tokens"][i].get<std::string>()), ids[i]);
  }
  EXPECT_EQ(tokenizer.decode(ids), c["decoded"]);
  EXPECT_EQ(tokenizer.decode(ids, true), c["decoded_skip_special_tokens"]);
}

void check_batch(const Tokenizer& tokenizer, const Json& c) {
  const std::vector<std::string> texts = c["texts"];
  PaddingOptions options;
  options.padding_side = c["padding_side"].get<std::string>();
  const PaddedBatch batch = tokenizer.encode_padded(texts, options);
  EXPECT_EQ(Json(batch.input_ids), c["input_ids"]);
  EXPECT_EQ(Json(batch.attention_mask), c["attention_mask"]);
  options.max_length = 6;
  options.pad_to_max_length = true;
  const PaddedBatch cut = tokenizer.encode_padded(texts, options);
  EXPECT_EQ(Json(cut.input_ids), c["truncated_to_6"]["input_ids"]);
  EXPECT_EQ(Json(cut.attention_mask), c["truncated_to_6"]["attention_mask"]);
  const auto rows = tokenizer.encode_batch(texts);
  ASSERT_EQ(rows.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(rows[i], tokenizer.encode(texts[i]));
}

TEST(TokenizerGoldens, EveryCase) {
  const Json file = golden_json("goldens/tokenizers.json");
  size_t checked = 0;
  for (const Json& c : file["cases"]) {
    const std::string name = c["name"];
    SCOPED_TRACE(name);
    const Tokenizer& tokenizer = *golden_tokenizer(name);
    if (c.contains("text")) {
      check_encode(tokenizer, c);
    } else if (c.contains("tokens")) {
      check_decode(tokenizer, c);
    } else if (c.contains("attention_mask")) {
      check_batch(tokenizer, c);
    } else {
      const auto& texts = c["texts"];
      EXPECT_EQ(tokenizer.encode_pair(texts[0].get<std::string>(), texts[1].get<std::string>()),
                c["ids_with_special_tokens"].get<Ids>());
    }
    ++checked;
  }
  EXPECT_EQ(checked, 419U);
}

}  // namespace
}  // namespace genkit::text

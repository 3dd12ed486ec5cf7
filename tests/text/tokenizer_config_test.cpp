#include "genkit/text/tokenizer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "genkit/base/error.h"
#include "genkit/text/tokenizer.h"
#include "tests/base/temp_folder.h"
#include "tests/text/golden_file.h"

namespace genkit::text {
namespace {

using test::TempFolder;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Json = nlohmann::json;

/// Six tokens, one of them added and not special, no post-processor.
const char* const kTokenizer = R"({"version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 4, "content": "<end>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": false}],
  "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<s>": 2, "ab": 3, "<end>": 4, "c": 5},
            "merges": ["a b"]}})";

class TokenizerConfigTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Tokenizer> load(const Json& config) {
    folder_.write("tokenizer_config.json", config.dump());
    return load();
  }
  std::shared_ptr<const Tokenizer> load() {
    folder_.write("tokenizer.json", kTokenizer);
    return Tokenizer::load(folder_.path());
  }
  TempFolder folder_;
};

TEST_F(TokenizerConfigTest, NothingButTheVocabulary) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer->vocab_size(), 6);
  EXPECT_THAT(tokenizer->encode("abc<s>"), ElementsAre(3, 5))
      << "no special token: its characters have no ids";
  EXPECT_EQ(tokenizer->bos_token_id(), std::nullopt);
  EXPECT_TRUE(tokenizer->special_tokens().empty());
  EXPECT_EQ(tokenizer->chat_template(), "");
  EXPECT_FALSE(tokenizer->is_special(4));
}

TEST_F(TokenizerConfigTest, NamedTokensAsStringsAndObjects) {
  const auto tokenizer = load({{"eos_token", {{"content", "<end>"}, {"lstrip", false}}},
                               {"bos_token", "<s>"},
                               {"pad_token", nullptr},
                               {"image_token", "<img>"}});
  EXPECT_EQ(tokenizer->bos_token_id(), 2);
  EXPECT_EQ(tokenizer->eos_token_id(), 4);
  EXPECT_EQ(tokenizer->pad_token_id(), std::nullopt);
  EXPECT_THAT(tokenizer->special_tokens(), ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "<end>"),
                                                       Pair("image_token", "<img>")));
  // Named tokens are special: kept whole in a text, skipped in decoding, added when they are new.
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_TRUE(tokenizer->is_special(4));
  EXPECT_EQ(tokenizer->token_to_id("<img>"), 6);
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a<img>b<s>"), true), "ab");
}

TEST_F(TokenizerConfigTest, AddedTokensDecoder) {
  const Json flags = {{"lstrip", false}, {"rstrip", true}, {"normalized", false}, {"single_word", false}};
  Json plain = flags, special = flags;
  plain["content"] = "<one>";
  plain["special"] = false;
  special["content"] = "<two>";
  special["special"] = true;
  const auto tokenizer = load({{"added_tokens_decoder", {{"7", special}, {"6", plain}}}});
  EXPECT_EQ(tokenizer->token_to_id("<one>"), 6);
  EXPECT_EQ(tokenizer->token_to_id("<two>"), 7);
  EXPECT_FALSE(tokenizer->is_special(6));
  EXPECT_TRUE(tokenizer->is_special(7));
  EXPECT_THAT(tokenizer->encode("a<one>  b"), ElementsAre(0, 6, 1)) << "rstrip takes the spaces";
}

TEST_F(TokenizerConfigTest, SpecialTokensMapFillsWhatTheConfigurationLacks) {
  folder_.write("special_tokens_map.json",
                R"({"eos_token": {"content": "<end>", "lstrip": false, "normalized": false, "rstrip": false,
                    "single_word": false}, "additional_special_tokens": ["<x>", {"content": "<y>"}]})");
  const auto tokenizer = load({{"bos_token", "<s>"}});
  EXPECT_EQ(tokenizer->bos_token_id(), 2);
  EXPECT_EQ(tokenizer->eos_token_id(), 4);
  EXPECT_TRUE(tokenizer->is_special(tokenizer->token_to_id("<x>").value()));
  EXPECT_TRUE(tokenizer->is_special(tokenizer->token_to_id("<y>").value()));
  EXPECT_THAT(tokenizer->special_tokens(), ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "<end>")));
}

TEST_F(TokenizerConfigTest, AddBosTokenHasNoEffectBesideATokenizerJson) {
  EXPECT_THAT(load({{"bos_token", "<s>"}, {"add_bos_token", true}})->encode("a"), ElementsAre(0));
}

TEST_F(TokenizerConfigTest, SplitSpecialTokens) {
  EXPECT_THAT(load({{"eos_token", "<end>"}})->encode("a<end>"), ElementsAre(0, 4));
  // Each character is looked up by itself then; "<" and the like are not in the vocabulary.
  EXPECT_THAT(load({{"eos_token", "<end>"}, {"split_special_tokens", true}})->encode("a<end>"),
              ElementsAre(0));
}

TEST_F(TokenizerConfigTest, ChatTemplates) {
  auto tokenizer = load({{"chat_template", "one"}});
  EXPECT_EQ(tokenizer->chat_template(), "one");
  EXPECT_THAT(tokenizer->chat_template_names(), ElementsAre("default"));

  const Json list = {{{"name", "default"}, {"template", "d"}}, {{"name", "tool_use"}, {"template", "t"}}};
  tokenizer = load({{"chat_template", list}});
  EXPECT_EQ(tokenizer->chat_template(), "d");
  EXPECT_EQ(tokenizer->chat_template("tool_use"), "t");
  EXPECT_EQ(tokenizer->chat_template("rag"), "");
  EXPECT_THAT(tokenizer->chat_template_names(), ElementsAre("default", "tool_use"));

  // Files take the place of what the configuration says, all of it.
  folder_.write("chat_template.jinja", "file\n");
  folder_.write("additional_chat_templates/rag.jinja", "r");
  tokenizer = load({{"chat_template", list}});
  EXPECT_EQ(tokenizer->chat_template(), "file\n");
  EXPECT_THAT(tokenizer->chat_template_names(), ElementsAre("default", "rag"));
}

TEST_F(TokenizerConfigTest, CleanUpCountsForBpeOnlyWhenItInsists) {
  EXPECT_FALSE(load({{"clean_up_tokenization_spaces", true}})->cleans_up());
  const char* insist = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
  EXPECT_TRUE(load({{"clean_up_tokenization_spaces", true}, {insist, true}})->cleans_up());
}

TEST_F(TokenizerConfigTest, PaddingOptionsAreChecked) {
  const auto message = [&](const Tokenizer& tokenizer, const PaddingOptions& options) -> std::string {
    try {
      tokenizer.encode_padded({"a", "bab"}, options);
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "no error";
  };
  PaddingOptions options;
  EXPECT_EQ(message(*load(), options), "padding: this tokenizer has no pad_token");
  const auto tokenizer = load({{"pad_token", "c"}, {"padding_side", "left"}});
  EXPECT_THAT(tokenizer->encode_padded({"a", "bab"}).input_ids,
              ElementsAre(ElementsAre(5, 0), ElementsAre(1, 3)));
  options.padding_side = "middle";
  EXPECT_EQ(message(*tokenizer, options), "padding_side: expected \"left\" or \"right\", got \"middle\"");
  options.padding_side = "right";
  options.pad_to_max_length = true;
  EXPECT_EQ(message(*tokenizer, options), "pad_to_max_length: needs max_length");
  options.max_length = 0;
  EXPECT_EQ(message(*tokenizer, options), "max_length: expected a positive number, got 0");

  const auto with_eos = golden_tokenizer("unigram_metaspace");
  options = {};
  options.max_length = 1;
  EXPECT_EQ(with_eos->encode_padded({"Hello"}, options).input_ids[0].size(), 1U);
}

TEST_F(TokenizerConfigTest, EveryComplaintNamesFileAndField) {
  const auto message = [&](const std::string& config) -> std::string {
    folder_.write("tokenizer_config.json", config);
    folder_.write("tokenizer.json", kTokenizer);
    try {
      Tokenizer::load(folder_.path());
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(""), HasSubstr("tokenizer_config.json: "));
  EXPECT_THAT(message("{\"bos_token\": "), HasSubstr("tokenizer_config.json: line 1"));
  EXPECT_EQ(message("[]"), "tokenizer_config.json: expected an object, got a list");
  EXPECT_THAT(message(R"({"bos_token": 5})"),
              HasSubstr("tokenizer_config.json: bos_token: expected a string or an object with \"content\""));
  EXPECT_THAT(message(R"({"bos_token": {"text": "x"}})"),
              HasSubstr("tokenizer_config.json: bos_token.content: missing"));
  EXPECT_THAT(message(R"({"added_tokens_decoder": {"x": {"content": "y"}}})"),
              HasSubstr("tokenizer_config.json: added_tokens_decoder.x: expected an id as the key"));
  EXPECT_THAT(message(R"({"added_tokens_decoder": {"1": "y"}})"),
              HasSubstr("tokenizer_config.json: added_tokens_decoder.1: expected an object"));
  EXPECT_THAT(message(R"({"chat_template": 3})"),
              HasSubstr("tokenizer_config.json: chat_template: expected"));
  EXPECT_THAT(message(R"({"chat_template": [{"name": "x"}]})"),
              HasSubstr("tokenizer_config.json: chat_template[0].template: missing"));
  EXPECT_THAT(message(R"({"clean_up_tokenization_spaces": "yes"})"),
              HasSubstr("tokenizer_config.json: clean_up_tokenization_spaces: expected"));
  EXPECT_THAT(message(R"({"padding_side": "up"})"),
              HasSubstr("tokenizer_config.json: padding_side: expected \"left\" or \"right\", got \"up\""));
  folder_.write("chat_template.jinja", "ok \xFF");
  EXPECT_EQ(message("{}"), "chat_template.jinja: invalid UTF-8 at byte 3");
}

}  // namespace
}  // namespace genkit::text

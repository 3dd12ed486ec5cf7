#include "genkit/generate/prompt.h"

#include <gtest/gtest.h>

#include "genkit/base/error.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

GenerationConfig config_of(const std::string& text) {
  return GenerationConfig::from_caller(json::parse(text), "");
}

PreparedPrompt prepare(const Prompt& prompt, const std::string& config = "{}", int positions = 64) {
  const FakeModel model(positions);
  return prepare_prompt(prompt, config::resolve({}, config_of(config)), model, "prompt 0");
}

std::string error_of(const Prompt& prompt, const std::string& config = "{}", int positions = 64) {
  try {
    prepare(prompt, config, positions);
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "(no exception)";
}

TEST(PreparePrompt, NamesWhatIsWrong) {
  EXPECT_EQ(error_of({.ids = {}}), "prompt 0: is empty");
  EXPECT_EQ(error_of({.ids = {1, 2, 48}}), "prompt 0: id 48 at position 2 is outside the vocabulary of 48");
  EXPECT_EQ(error_of({.ids = {1, -5}}), "prompt 0: id -5 at position 1 is outside the vocabulary of 48");
  EXPECT_EQ(error_of({.ids = Ids(65, 1)}), "prompt 0: 65 tokens are more than the model's 64 positions");
  EXPECT_EQ(error_of({.ids = Ids(64, 1)}), "prompt 0: its 64 tokens fill the model's 64 positions");
  EXPECT_EQ(error_of({.ids = Ids(9, 1)}, R"({"max_length": 9})"),
            "max_length: 9 leaves no room after the 9 tokens of prompt 0");
  EXPECT_EQ(error_of({.ids = {1, 2}}, R"({"max_new_tokens": 2147483647})"),
            "max_new_tokens: 2147483647 after a prompt of 2 tokens is too long");
  EXPECT_EQ(error_of({.ids = {1, 2}, .attention_mask = {1}}),
            "prompt 0: attention_mask has 1 entries for 2 ids");
  EXPECT_EQ(error_of({.ids = {1, 2}, .attention_mask = {2, 1}}),
            "prompt 0: attention_mask: expected 0 or 1 at position 0, got 2");
  EXPECT_EQ(error_of({.ids = {1, 2}, .attention_mask = {1, 0}}),
            "prompt 0: its last token is padding; prompts are padded on the left");
}

TEST(PreparePrompt, LeftPaddingIsTakenOutForTheModelAndKeptForProcessors) {
  const PreparedPrompt prompt =
      prepare({.ids = {0, 0, 7, 8}, .attention_mask = {0, 0, 1, 1}}, R"({"max_new_tokens": 3})");
  EXPECT_EQ(prompt.tokens, (Ids{7, 8}));
  EXPECT_EQ(prompt.ids, (Ids{0, 0, 7, 8}));
  EXPECT_EQ(prompt.padding, 2);
  EXPECT_EQ(prompt.max_length, 7);
}

TEST(PreparePrompt, AMaskIsInferredOnlyFromAPadIdThatIsNoEos) {
  const Prompt prompt{.ids = {0, 0, 7, 8}};
  EXPECT_EQ(prepare(prompt, R"({"pad_token_id": 0})").tokens, (Ids{7, 8}));
  EXPECT_EQ(prepare(prompt, R"({"pad_token_id": 0, "eos_token_id": 2})").tokens, (Ids{7, 8}));
  EXPECT_EQ(prepare(prompt, R"({"pad_token_id": 0, "eos_token_id": [2, 0]})").tokens, (Ids{0, 0, 7, 8}));
  EXPECT_EQ(prepare(prompt, R"({"eos_token_id": 0})").tokens, (Ids{0, 0, 7, 8}));
  EXPECT_EQ(prepare(prompt, R"({"pad_token_id": -1})").tokens, (Ids{0, 0, 7, 8}));
  EXPECT_EQ(prepare({.ids = {7, 0, 8}}, R"({"pad_token_id": 0})").tokens, (Ids{7, 8}));
}

}  // namespace
}  // namespace genkit::generate

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "genkit/base/error.h"
#include "genkit/text/assistant_mask.h"
#include "genkit/text/chat_template.h"
#include "genkit/text/tokenizer.h"

namespace genkit::text {
namespace {

using Json = nlohmann::ordered_json;

ChatOptions options_of(const Json& arguments, const std::string& now) {
  ChatOptions options;
  options.now = now;
  options.add_generation_prompt = arguments.value("add_generation_prompt", false);
  options.continue_final_message = arguments.value("continue_final_message", false);
  options.variables = Json::object();
  for (const auto& [name, value] : arguments.items()) {
    if (name == "tools") {
      options.tools = value;
    } else if (name != "add_generation_prompt" && name != "continue_final_message") {
      options.variables[name] = value;
    }
  }
  return options;
}

TEST(ApplyChatTemplate, TextIdsAndMasksAsRecorded) {
  const std::string folder = std::string(MLXGK_TEST_DATA) + "/../goldens/";
  std::ifstream in(folder + "chat_templates.json");
  const Json file = Json::parse(in);
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;
  for (const Json& c : file["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    auto& tokenizer = tokenizers[c["tokenizer"]];
    if (!tokenizer) tokenizer = Tokenizer::load(folder + "tokenizers/" + c["tokenizer"].get<std::string>());
    const ChatOptions options = options_of(c["arguments"], file["now"]);
    if (c.contains("expected_error")) {
      const Json& expected = c["expected_error"];
      try {
        apply_chat_template(*tokenizer, c["messages"], options);
        ADD_FAILURE() << "expected " << expected["message"];
      } catch (const Error& error) {
        if (expected["type"] == "TemplateError")
          EXPECT_EQ(error.what(), expected["message"].get<std::string>());
      }
      continue;
    }
    const RenderedChat chat = apply_chat_template(*tokenizer, c["messages"], options);
    EXPECT_EQ(chat.text, c["expected_text"].get<std::string>());
    EXPECT_EQ(tokenizer->encode(chat.text, false), c["expected_ids"].get<std::vector<int32_t>>());
    if (c.contains("expected_assistant_mask")) {
      EXPECT_EQ(assistant_mask(*tokenizer, chat), c["expected_assistant_mask"].get<std::vector<int32_t>>());
    }
  }
}

}  // namespace
}  // namespace genkit::text

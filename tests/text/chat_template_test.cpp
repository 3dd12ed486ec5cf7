#include "genkit/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "genkit/base/error.h"

namespace genkit::text {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
using testing::StartsWith;

const std::vector<std::pair<std::string, std::string>> kSpecial = {{"bos_token", "<s>"},
                                                                   {"eos_token", "</s>"}};

template <typename E, typename F>
std::string message_of(F&& function) {
  try {
    function();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

std::string render(const std::string& text, const Json& variables = Json::object()) {
  return render_template(text, variables, "2026-03-14T09:26:53").text;
}

Json load(const std::string& name) {
  std::ifstream in(std::string(MLXGK_TEST_DATA) + "/../goldens/" + name);
  return Json::parse(in);
}

TEST(RenderTemplate, LanguageGoldensWithTheirErrors) {
  const Json file = load("jinja.json");
  const std::string now = file["now"];
  for (const Json& c : file["cases"]) {
    const auto run = [&] {
      return render_template(c["template"].get<std::string>(), c["variables"], now).text;
    };
    if (c.contains("expected_text")) {
      EXPECT_EQ(run(), c["expected_text"].get<std::string>()) << c["template"];
      continue;
    }
    const Json& expected = c["expected_error"];
    const std::string words = expected["message"];
    if (expected["type"] == "TemplateError") {
      EXPECT_EQ(message_of<ArgumentError>(run), words);
    } else {
      const std::string kind = expected["type"];
      EXPECT_EQ(message_of<FormatError>(run), "chat template: line 1: " + kind + ": " + words);
    }
  }
}

TEST(RenderTemplate, KeepsTheOrderOfKeys) {
  EXPECT_EQ(render("{{ d }}|{{ d | tojson }}", {{"d", {{"b", 1}, {"a", nullptr}}}}),
            "{'b': 1, 'a': None}|{\"b\": 1, \"a\": null}");
}

TEST(RenderTemplate, UsesTheClockWhenNoTimeIsGiven) {
  const std::string year = render_template("{{ strftime_now('%Y') }}", Json::object()).text;
  EXPECT_GE(std::stoi(year), 2024);
  EXPECT_EQ(message_of<FormatError>([] { render_template("x", Json::object(), "yesterday"); }),
            "chat template: ValueError: now: expected a time like 2026-03-14T09:26:53, got yesterday");
}

TEST(RenderTemplate, NamesTheLineOfAMistake) {
  EXPECT_EQ(
      message_of<FormatError>([] { render("one\n{% if %}\n{% endif %}"); }),
      "chat template: line 2: TemplateSyntaxError: Expected an expression, got 'end of statement block'");
  EXPECT_EQ(
      message_of<FormatError>([] { render("{% for x in y %}\n\n"); }),
      "chat template: line 2: TemplateSyntaxError: Unexpected end of template. Jinja was looking for the "
      "following tags: 'endfor' or 'else'. The innermost block that needs to be closed is 'for'.");
  EXPECT_EQ(message_of<FormatError>([] {
              render("a\n\n{{ x.y.z }}", {{"x", Json::object()}});
            }),
            "chat template: line 3: UndefinedError: 'dict object' has no attribute 'y'");
  EXPECT_EQ(message_of<FormatError>([] {
              render_template("{{ 1 | nothing }}", Json::object(), "", "chat template \"tool_use\"");
            }),
            "chat template \"tool_use\": line 1: TemplateAssertionError: No filter named 'nothing'.");
}

TEST(RenderTemplate, HasNoFilesToLoad) {
  for (const char* text :
       {"{% include 'a' %}", "{% import 'a' as b %}", "{% from 'a' import b %}", "{% extends 'a' %}"}) {
    EXPECT_EQ(message_of<FormatError>([&] { render(text); }),
              "chat template: line 1: TypeError: no loader for this environment specified");
  }
}

TEST(RenderTemplate, BoundsWhatATemplateCosts) {
  const auto refused = [](const std::string& text) { return message_of<FormatError>([&] { render(text); }); };
  EXPECT_THAT(refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              HasSubstr("RecursionError: maximum recursion depth exceeded"));
  EXPECT_THAT(refused("{% for x in range(10000000) %}{% endfor %}"),
              HasSubstr("OverflowError: Range too big"));
  EXPECT_THAT(
      refused(
          "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"),
      HasSubstr("LimitError: the template needs too much memory"));
  EXPECT_THAT(refused("{{ 'x' * 10000000000 }}"), HasSubstr("too much memory"));
  EXPECT_THAT(refused("{{ 'x'.ljust(10000000000) }}"), HasSubstr("too much memory"));
  EXPECT_THAT(refused("{{ '%9999999999d' % 1 }}"), HasSubstr("width too big"));
  EXPECT_THAT(refused("{{ 10 ** (10 ** 10) }}"), HasSubstr("too large an integer"));
  EXPECT_THAT(refused("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
              HasSubstr("LimitError: the template takes too many steps"));
  EXPECT_THAT(
      refused("{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}"),
      HasSubstr("RecursionError"));
  EXPECT_THAT(refused("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
              HasSubstr("too deeply nested"));
  EXPECT_THAT(refused("{{ " + std::string(100000, '-') + "1 }}"), HasSubstr("too deeply nested"));
}

TEST(RenderTemplate, IsUsableFromSeveralThreads) {
  std::vector<std::thread> threads;
  std::vector<std::string> texts(8);
  for (size_t i = 0; i < texts.size(); ++i) {
    threads.emplace_back([&texts, i] {
      for (int k = 0; k < 20; ++k)
        texts[i] = render("{% for c in s %}{{ c | upper }}{% endfor %}", {{"s", "abc"}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, "ABC");
}

TEST(RenderTemplate, RefusesInvalidUtf8) {
  EXPECT_EQ(message_of<ArgumentError>([] {
              render("{{ s }}", {{"s", "a\xff"}});
            }),
            "messages: invalid UTF-8 in a message or a template variable");
  EXPECT_EQ(message_of<ArgumentError>([] { render("a\xff"); }), "chat_template: invalid UTF-8 at byte 1");
  EXPECT_EQ(message_of<ArgumentError>([] { render("", Json::array()); }),
            "variables: expected an object, got array");
}

constexpr const char* kPlain =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role == 'assistant' %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

const Json kTurns = {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "well "}}};

TEST(RenderChat, DefinesWhatTemplatesExpect) {
  ChatOptions options;
  EXPECT_EQ(render_chat(kPlain, kSpecial, kTurns, options).text,
            "<s>[user]hi[assistant]well </s>[assistant]");
  options.add_generation_prompt = false;
  EXPECT_EQ(render_chat(kPlain, kSpecial, kTurns, options).text, "<s>[user]hi[assistant]well </s>");
  const char* seen =
      "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ extra }}{{ eos_token }}";
  options.variables = {{"extra", 5}, {"eos_token", "<end>"}};
  EXPECT_EQ(render_chat(seen, kSpecial, kTurns, options).text, "TrueTrueFalse5<end>");
}

TEST(RenderChat, DropsNullFieldsAndAliasesReasoning) {
  const Json messages = {{{"role", "user"}, {"content", "q"}, {"tool_calls", nullptr}, {"reasoning", "why"}}};
  EXPECT_EQ(
      render_chat("{{ messages[0] }}", kSpecial, messages).text,
      "{'thinking': 'why', 'role': 'user', 'content': 'q', 'reasoning': 'why', 'reasoning_content': 'why'}");
}

TEST(RenderChat, ContinuesTheLastMessage) {
  ChatOptions options;
  options.add_generation_prompt = false;
  options.continue_final_message = true;
  EXPECT_EQ(render_chat(kPlain, kSpecial, kTurns, options).text, "<s>[user]hi[assistant]well ");
  const char* trimming = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}";
  EXPECT_EQ(render_chat(trimming, kSpecial, kTurns, options).text, "[hi][well");
  const Json parts = {{{"role", "user"},
                       {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}}};
  const char* joined = "{% for p in messages[0].content %}{{ p.text }};{% endfor %}";
  EXPECT_EQ(render_chat(joined, kSpecial, parts, options).text, "a;b");
  options.continue_field = "thinking";
  const Json thought = {{{"role", "assistant"}, {"thinking", "hm"}}};
  EXPECT_EQ(render_chat("<{{ messages[0].reasoning_content }}>", kSpecial, thought, options).text, "<hm");
}

TEST(RenderChat, SaysWhyTheLastMessageCannotContinue) {
  ChatOptions options;
  options.continue_final_message = true;
  const auto refused = [&](const char* text, const Json& messages) {
    return message_of<ArgumentError>([&] { render_chat(text, kSpecial, messages, options); });
  };
  EXPECT_THAT(refused(kPlain, kTurns), StartsWith("continue_final_message: excludes add_generation_prompt"));
  options.add_generation_prompt = false;
  EXPECT_EQ(refused(kPlain, {{{"role", "user"}}}),
            "continue_final_message: the last message has no \"content\" to continue");
  EXPECT_EQ(refused("{{ messages }}", kTurns),
            "continue_final_message: the chat template never reads \"content\"");
  EXPECT_THAT(refused("content", kTurns),
              StartsWith("continue_final_message: the last message does not appear"));
  EXPECT_EQ(refused(kPlain, {{{"role", "user"}, {"content", {{{"type", "image"}}}}}}),
            "continue_final_message: no part of the last message is text");
  EXPECT_EQ(refused(kPlain, {{{"role", "user"}, {"content", 5}}}),
            "continue_final_message: the content of the last message is not text that could go on");
}

TEST(RenderChat, RefusesMessagesOfTheWrongForm) {
  const auto refused = [&](const Json& messages, const ChatOptions& options = {}) {
    return message_of<ArgumentError>([&] { render_chat(kPlain, kSpecial, messages, options); });
  };
  EXPECT_EQ(refused("hello"), "messages: expected an array of messages, got string");
  EXPECT_EQ(refused(Json::array()), "messages: expected at least one message, got an empty array");
  EXPECT_EQ(refused({kTurns[0], 3}), "messages[1]: expected an object with role and content, got number");
  ChatOptions options;
  options.tools = {{{"type", "function"}}, "f"};
  EXPECT_EQ(refused(kTurns, options), "tools[1]: expected an object, got string");
  options.tools = nullptr;
  options.documents = 3;
  EXPECT_EQ(refused(kTurns, options), "documents: expected an array, got number");
  options.documents = nullptr;
  options.variables = {{"messages", 1}};
  EXPECT_EQ(refused(kTurns, options), "variables: messages: has an option of its own");
  EXPECT_EQ(message_of<ArgumentError>([] {
              render_chat("{{ raise_exception('No ' ~ messages[0].role ~ ' here') }}", kSpecial, kTurns);
            }),
            "No user here");
}

TEST(RenderChat, MarksWhatGenerationBlocksWrote) {
  const char* text =
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}{% "
      "endgeneration %}"
      "{% else %}ü:{{ m.content }};{% endif %}{% endfor %}";
  const Json messages = {{{"role", "user"}, {"content", "é"}},
                         {{"role", "assistant"}, {"content", "naïve"}},
                         {{"role", "assistant"}, {"content", ""}}};
  const RenderedChat chat = render_chat(text, kSpecial, messages);
  EXPECT_EQ(chat.text, "ü:é;A:naïveA:");
  ASSERT_EQ(chat.generation_spans.size(), 2u);
  const auto [begin, end] = chat.generation_spans[0];
  EXPECT_EQ(chat.text.substr(begin, end - begin), "naïve");
  EXPECT_EQ(chat.generation_spans[1], (std::pair<size_t, size_t>(chat.text.size(), chat.text.size())));
}

TEST(RenderChat, TakesLittleTimeForALongChat) {
  Json messages = Json::array();
  for (int i = 0; i < 100; ++i) {
    messages.push_back({{"role", i % 2 ? "assistant" : "user"}, {"content", std::string(400, 'x')}});
  }
  render_chat(kPlain, kSpecial, messages);
  const auto start = std::chrono::steady_clock::now();
  render_chat(kPlain, kSpecial, messages);
  // A few milliseconds on an idle machine; the bound only catches a template parsed every time or
  // time that grows with the square of the chat.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace genkit::text

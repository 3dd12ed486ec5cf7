// chat_templates.json, jinja.json, published_templates.json: what templates render.

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_set.h"
#include "genkit/text/assistant_mask.h"
#include "genkit/text/chat_template.h"

namespace genkit::eval {

namespace {

using Json = nlohmann::ordered_json;

/// `render` must fail; the words of raise_exception must be in the message.
void expect_error(const Json& expected, const std::function<text::RenderedChat()>& render) {
  std::string rendered;
  try {
    rendered = render().text;
  } catch (const Error& e) {
    const std::string want = expected.at("message").get<std::string>();
    if (expected.at("type") == "TemplateError" &&
        std::string_view(e.what()).find(want) == std::string_view::npos) {
      throw Mismatch(fmt::format("error: got \"{}\", expected it to contain \"{}\"", e.what(), want));
    }
    return;
  }
  throw Mismatch(fmt::format("expected an error ({}), got a rendering of {} bytes",
                             expected.at("message").get<std::string>(), rendered.size()));
}

/// Keyword arguments of apply_chat_template; names it does not have are template variables.
text::ChatOptions chat_options(const Json& arguments, const std::string& now) {
  text::ChatOptions options;
  options.now = now;
  options.add_generation_prompt = false;
  options.variables = Json::object();
  for (const auto& [key, value] : arguments.items()) {
    if (key == "add_generation_prompt") {
      options.add_generation_prompt = value.get<bool>();
    } else if (key == "continue_final_message") {
      options.continue_final_message = value.get<bool>();
    } else if (key == "tools") {
      options.tools = value;
    } else if (key == "documents") {
      options.documents = value;
    } else if (key == "chat_template") {
      options.chat_template = value.get<std::string>();
    } else {
      options.variables[key] = value;
    }
  }
  return options;
}

void check_chat(const text::Tokenizer& tokenizer, const Json& c, const std::string& now) {
  const text::ChatOptions options = chat_options(c.at("arguments"), now);
  const auto render = [&] { return text::apply_chat_template(tokenizer, c.at("messages"), options); };
  if (c.contains("expected_error")) return expect_error(c.at("expected_error"), render);
  const text::RenderedChat chat = render();
  expect_text("expected_text", chat.text, c.at("expected_text").get<std::string>());
  // A template writes the special tokens itself.
  expect_ids("expected_ids", tokenizer.encode(chat.text, false),
             c.at("expected_ids").get<std::vector<int32_t>>());
  if (c.contains("expected_assistant_mask")) {
    expect_ids("expected_assistant_mask", text::assistant_mask(tokenizer, chat),
               c.at("expected_assistant_mask").get<std::vector<int32_t>>());
  }
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(path.string() + ": cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void check_published(const GoldenFile& file, const Json& c, const std::string& now) {
  Json variables = c.at("variables");
  // What apply_chat_template defines for every template.
  variables["messages"] = c.at("messages");
  variables["tools"] = c.value("tools", Json());
  variables["documents"] = Json();
  variables["add_generation_prompt"] = c.at("add_generation_prompt");
  const std::string source = read_text(file.folder() / c.at("template").get<std::string>());
  if (c.contains("expected")) {
    expect_text("expected", text::render_template(source, variables, now).text,
                c.at("expected").get<std::string>());
    return;
  }
  std::string rendered;
  try {
    rendered = text::render_template(source, variables, now).text;
  } catch (const Error&) {
    return;
  }
  throw Mismatch(fmt::format("expected an error ({}), got a rendering of {} bytes",
                             c.at("error").get<std::string>(), rendered.size()));
}

}  // namespace

void run_chat_templates(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  const std::string now = file.root().at("now").string();
  for (const Json& c : file.ordered().at("cases")) {
    report.run(c.at("name").get<std::string>(),
               [&] { check_chat(*set.tokenizer(c.at("tokenizer").get<std::string>()), c, now); });
  }
}

void run_jinja(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  const std::string now = file.root().at("now").string();
  for (const Json& c : file.ordered().at("cases")) {
    report.run(c.at("name").get<std::string>(), [&] {
      const auto render = [&] {
        return text::render_template(c.at("template").get<std::string>(), c.at("variables"), now);
      };
      if (c.contains("expected_error")) return expect_error(c.at("expected_error"), render);
      expect_text("expected_text", render().text, c.at("expected_text").get<std::string>());
    });
  }
}

void run_published_templates(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  const std::string now = file.root().at("now").string();
  for (const Json& c : file.ordered().at("cases")) {
    report.run(fmt::format("{} {}", c.at("template").get<std::string>(), c.at("name").get<std::string>()),
               [&] { check_published(file, c, now); });
  }
}

}  // namespace genkit::eval

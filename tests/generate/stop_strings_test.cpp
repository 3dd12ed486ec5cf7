#include "genkit/generate/stop_strings.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "genkit/base/error.h"
#include "genkit/base/json_reader.h"
#include "genkit/generate/session.h"
#include "genkit/generate/text_output.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path goldens() { return fs::path(MLXGK_TEST_DATA).parent_path() / "goldens"; }

std::shared_ptr<const text::Tokenizer> tokenizer(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const text::Tokenizer>> loaded;
  auto& entry = loaded[name];
  if (!entry) entry = text::Tokenizer::load(goldens() / "tokenizers" / name);
  return entry;
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "(no exception)";
}

TEST(StopStrings, FireAsTransformersDoes) {
  const nlohmann::json file = read_json_file(goldens() / "stop_strings.json");
  int ran = 0;
  for (const auto& c : file["cases"]) {
    if (!c.contains("ids")) continue;
    const std::string name = c["name"];
    const auto strings = c["stop_strings"].get<std::vector<std::string>>();
    const Ids ids = c["ids"].get<Ids>();
    if (c.contains("expected_error")) {
      EXPECT_NE(error_of([&] { StopStringMatcher(*tokenizer(c["tokenizer"]), strings); }), "(no exception)")
          << name;
    } else {
      const StopStringMatcher matcher(*tokenizer(c["tokenizer"]), strings);
      for (size_t length = 1; length <= ids.size(); ++length) {
        EXPECT_EQ(matcher.match(std::span(ids).first(length)) >= 0,
                  c["expected_per_prefix"][length - 1].get<bool>())
            << name << ", prefix of " << length;
      }
    }
    ++ran;
  }
  EXPECT_GE(ran, 104);
}

TEST(StopStrings, NameWhatCannotBeFound) {
  EXPECT_EQ(error_of([] { StopStringMatcher(*tokenizer("unigram_metaspace"), {"\n"}); }),
            "stop_strings: no token of this tokenizer can end \"\\x0a\", so that it would never be found");
  EXPECT_EQ(error_of([] { StopStringMatcher(*tokenizer("unigram_metaspace"), {""}); }),
            "stop_strings: an empty string would end every row at once");
  const FakeModel model;
  GenerationSession session(model, nullptr, {});
  GenerationConfig config;
  config.stop_strings = {{"x"}};
  EXPECT_EQ(error_of([&] { session.add({.ids = {1}}, config); }), "stop_strings: need the model's tokenizer");
}

/// All pieces of a text as they are handed out.
std::pair<std::string, std::string> streamed(const std::string& text, const std::vector<std::string>& stops,
                                             bool stopped) {
  const auto tok = tokenizer("bytebpe_chatml");
  TextOutput output(*tok, stops, true);
  std::string out;
  for (const int32_t id : tok->encode(text, false)) {
    out += output.push(id);
    // What has been handed out never has to be taken back.
    for (const std::string& stop : stops) EXPECT_EQ(out.find(stop), std::string::npos);
  }
  out += output.finish(stopped);
  return {out, output.text()};
}

TEST(TextOutput, HoldsBackWhatMayBecomeAStopString) {
  for (const std::string text : {"The model said END", "ENDE", "xEN", "aaab", "caf\xC3\xA9 END"}) {
    const size_t at = text.find("END");
    const auto [pieces, whole] = streamed(text, {"END", "aab"}, true);
    EXPECT_EQ(pieces, whole);
    EXPECT_EQ(whole, text == "aaab" ? "a" : text.substr(0, at)) << text;
  }
  const auto [pieces, whole] = streamed("not at the EN", {"END"}, false);
  EXPECT_EQ(pieces, "not at the EN");
  EXPECT_EQ(whole, pieces);
}

TEST(StopStrings, AreNeverFoundInThePromptAndAreCutFromTheText) {
  const FakeModel model;
  const auto tok = tokenizer("bytebpe_chatml");
  // What the row writes without stop strings: any part of it can be one.
  GenerationRequest request;
  request.prompts = {{.ids = {40, 41, 42}}};
  request.config.max_new_tokens = 30;
  const GeneratedRow plain = generate(model, tok.get(), request).rows[0];
  ASSERT_GT(plain.text.size(), 8u);
  for (const size_t begin : {size_t{3}, size_t{5}}) {
    const std::string stop = plain.text.substr(begin, 3);
    // The prompt holds the stop string too, whole.
    Ids prompt = tok->encode(stop, false);
    if (std::any_of(prompt.begin(), prompt.end(), [](int32_t id) { return id >= FakeModel::kVocab; }))
      continue;
    GenerationRequest stopped = request;
    stopped.config.stop_strings = {{stop}};
    std::string seen;
    stopped.on_token = [&](const StreamEvent& event) {
      seen += event.text;
      return true;
    };
    const GeneratedRow row = generate(model, tok.get(), stopped).rows[0];
    EXPECT_EQ(row.finish_reason, FinishReason::kStopString);
    EXPECT_EQ(row.stop_string, stop);
    EXPECT_EQ(row.text, plain.text.substr(0, plain.text.find(stop)));
    EXPECT_EQ(seen, row.text);
    stopped.prompts[0].ids = prompt;
    EXPECT_GE(generate(model, tok.get(), stopped).rows[0].ids.size(), 1u);
  }
}

}  // namespace
}  // namespace genkit::generate

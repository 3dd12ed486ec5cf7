#include "genkit/base/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

namespace genkit {
namespace {

using nlohmann::json;

/// The message of the exception of type E that `action` throws.
template <class E, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "(no exception)";
}

std::string parse_message(std::string_view text, const JsonLimits& limits = {}) {
  return message_of<FormatError>([&] { parse_json(text, "f.json", limits); });
}

TEST(ParseJson, ReadsWhatJsonIs) {
  const json value = parse_json(R"( {"a": [1, -2, 2.5, true, null, "\u00e9"], "b": {}} )", "f.json");
  EXPECT_EQ(value, json::parse(R"({"a": [1, -2, 2.5, true, null, "\u00e9"], "b": {}})"));
  EXPECT_EQ(parse_json("18446744073709551615", "f.json").get<uint64_t>(), UINT64_MAX);
}

TEST(ParseJson, NamesLineAndColumn) {
  EXPECT_THAT(parse_message("{\n  \"a\": tru\n}"), testing::StartsWith("f.json: line 2, column 11: "));
  EXPECT_THAT(parse_message("{\"\xC3\xA9\": }"), testing::StartsWith("f.json: line 1, column 7: "));
  EXPECT_THAT(parse_message("{\"a\": 1"), testing::StartsWith("f.json: line 1, column 8: "));
  EXPECT_THAT(parse_message(""), testing::StartsWith("f.json: line 1, column 1: "));
  EXPECT_THAT(parse_message("{} {}"), testing::StartsWith("f.json: line 1, column 4: "));
  EXPECT_THAT(parse_message("[1,]"), testing::StartsWith("f.json: line 1, column 4: "));
  EXPECT_THAT(parse_message("[1e999]"), testing::HasSubstr("number overflow"));
  EXPECT_THAT(parse_message("[1] // x"), testing::StartsWith("f.json: line 1, column 5: "));
  EXPECT_THAT(parse_message("\"\xff\""), testing::HasSubstr("ill-formed UTF-8"));
  EXPECT_THAT(parse_message(std::string_view("[1\0]", 4)), testing::StartsWith("f.json: line 1, column 3: "));
}

TEST(ParseJson, RefusesAKeyThatOccursTwice) {
  EXPECT_EQ(parse_message("{\"a\": 1,\n \"b\": {\"a\": 2, \"a\": 3}}"),
            "f.json: line 2, column 18: key `a` occurs twice in one object");
}

TEST(ParseJson, RefusesDepthAndSizeBeyondTheLimits) {
  EXPECT_EQ(parse_message(std::string(1000, '[')),
            "f.json: line 1, column 129: nested deeper than 128 levels");
  EXPECT_EQ(parse_message(std::string(128, '[') + std::string(128, ']')), "(no exception)");
  EXPECT_EQ(parse_message("[1, 2]", {.max_bytes = 3}), "f.json: 6 bytes, more than the 3 that are read");
}

TEST(ParseJson, NonFiniteNumbersAreRefusedByNameOrRead) {
  EXPECT_EQ(parse_message("{\"a\":\n Infinity}"), "f.json: line 2, column 2: Infinity is not a JSON number");
  EXPECT_EQ(parse_message("[NaN]"), "f.json: line 1, column 2: NaN is not a JSON number");
  const json value = parse_json(R"({"a\"": [NaN, "NaN", -Infinity, "x", Infinity, "xxxxxx"]})", "f.json",
                                {.allow_non_finite = true});
  const json& list = value["a\""];
  EXPECT_TRUE(std::isnan(list[0].get<double>()));
  EXPECT_EQ(list[1], "NaN");
  EXPECT_EQ(list[2].get<double>(), -INFINITY);
  EXPECT_EQ(list[3], "x");
  EXPECT_EQ(list[4].get<double>(), INFINITY);
  EXPECT_EQ(list[5], "xxxxxx");
  EXPECT_THAT(parse_message("{NaN: 1}", {.allow_non_finite = true}),
              testing::HasSubstr("a key must be a string"));
  EXPECT_THAT(parse_message("[NaNs]", {.allow_non_finite = true}),
              testing::StartsWith("f.json: line 1, column 2: "));
}

TEST(ReadJsonFile, NamesThePathAndTheReason) {
  const auto folder = std::filesystem::path(testing::TempDir());
  EXPECT_EQ(message_of<IoError>([&] { read_json_file(folder / "absent.json"); }),
            (folder / "absent.json").string() + ": cannot be opened: No such file or directory");
  EXPECT_EQ(message_of<IoError>([&] { read_json_file(folder); }),
            folder.string() + ": is a folder, expected a JSON file");
  const auto path = folder / "torn.json";
  std::ofstream(path) << "{\"a\": [1, 2";
  EXPECT_THAT(message_of<FormatError>([&] { read_json_file(path); }),
              testing::StartsWith("torn.json: line 1, column 12: "));
  std::ofstream(path) << "{\"a\": 1}";
  EXPECT_EQ(read_json_file(path), json({{"a", 1}}));
  EXPECT_THAT(message_of<FormatError>([&] { read_json_file(path, {.max_bytes = 4}); }),
              testing::HasSubstr("more than the 4 bytes"));
}

TEST(JsonView, NamesThePathOfWhatIsWrong) {
  const json value = json::parse(R"({"rope_scaling": {"factor": "8", "list": [1, 2.5]}, "layers": 3})");
  const JsonView view(value, "config.json");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("rope_scaling").at("factor").number(); }),
            "config.json: rope_scaling.factor: expected a number, got a string");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("rope_scaling").at("list").integers<int>(); }),
            "config.json: rope_scaling.list[1]: expected an integer, got 2.5");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("hidden_size"); }), "config.json: hidden_size: missing");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("layers").at("x"); }),
            "config.json: layers: expected an object, got 3");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("layers").boolean(); }),
            "config.json: layers: expected true or false, got 3");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("rope_scaling").string(); }),
            "config.json: rope_scaling: expected a string, got an object");
}

TEST(JsonView, ChecksTheRangeOfIntegers) {
  const json value =
      json::parse(R"({"big": 4294967296, "huge": 18446744073709551615, "neg": -1, "one": 1.0})");
  const JsonView view(value, "f.json");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("big").integer<int32_t>(); }),
            "f.json: big: expected an integer from -2147483648 to 2147483647, got 4294967296");
  EXPECT_THAT(message_of<FormatError>([&] { view.at("huge").integer<int64_t>(); }),
              testing::HasSubstr("got 18446744073709551615"));
  EXPECT_EQ(view.at("huge").integer<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(message_of<FormatError>([&] { view.at("neg").integer<uint64_t>(0, 5); }),
            "f.json: neg: expected an integer from 0 to 5, got -1");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("neg").integer<int>(0); }),
            "f.json: neg: expected an integer of at least 0, got -1");
  EXPECT_EQ(message_of<FormatError>([&] { view.at("one").integer<int>(); }),
            "f.json: one: expected an integer, got 1.0");
}

TEST(JsonView, ReadsValuesAndFallbacks) {
  const json value =
      json::parse(R"({"a": 1, "b": 2.5, "c": "x", "d": true, "e": null, "f": [1, 2], "g": ["p"]})");
  const JsonView view(value, "");
  EXPECT_EQ(view.at("a").integer<int>(), 1);
  EXPECT_EQ(view.at("a").number(), 1.0);
  EXPECT_EQ(view.number_or("b", 0), 2.5);
  EXPECT_EQ(view.string_or("c", ""), "x");
  EXPECT_TRUE(view.boolean_or("d", false));
  EXPECT_EQ(view.integer_or<int>("e", 7), 7);
  EXPECT_EQ(view.string_or("absent", "y"), "y");
  EXPECT_TRUE(view.has("e"));
  EXPECT_FALSE(view.find("e").has_value());
  EXPECT_EQ(view.at("f").integers<int>(), (std::vector<int>{1, 2}));
  EXPECT_EQ(view.at("g").strings(), std::vector<std::string>{"p"});
  EXPECT_EQ(message_of<FormatError>([&] { view.at("b").number(3, 4); }),
            "b: expected a number from 3 to 4, got 2.5");
}

TEST(JsonView, SuggestsTheNearestKeyAndBlamesTheCallerWhenAsked) {
  const json value = json::parse(R"({"top_pp": 1})");
  const JsonView view(value, "--generation-config", JsonView::Blame::kCaller);
  EXPECT_EQ(message_of<ArgumentError>([&] {
              view.refuse_unknown_keys({"top_k", "top_p"});
            }),
            "--generation-config: top_pp: unknown key; did you mean `top_p`?");
  EXPECT_EQ(message_of<ArgumentError>([&] { view.refuse_unknown_keys({"temperature"}); }),
            "--generation-config: top_pp: unknown key");
  EXPECT_NO_THROW(view.refuse_unknown_keys({"top_pp"}));
}

}  // namespace
}  // namespace genkit

#include "genkit/text/utf8.h"

#include <gtest/gtest.h>

namespace genkit::text {
namespace {

using namespace std::string_literals;

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("a\0é日😀"s), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("ab\xFF"), 2U);
  EXPECT_EQ(find_invalid_utf8("ab\x80"), 2U);
  EXPECT_EQ(find_invalid_utf8("a\xC0\xAF"), 1U) << "overlong";
  EXPECT_EQ(find_invalid_utf8("a\xE0\x80\x80"), 1U) << "overlong";
  EXPECT_EQ(find_invalid_utf8("a\xED\xA0\x80"), 1U) << "surrogate";
  EXPECT_EQ(find_invalid_utf8("a\xF4\x90\x80\x80"), 1U) << "beyond U+10FFFF";
  EXPECT_EQ(find_invalid_utf8("日\xE6\x97"), 3U) << "cut short";
}

TEST(Utf8, CountsAndFindsCodePoints) {
  EXPECT_EQ(count_code_points("aé日😀"), 4U);
  EXPECT_EQ(byte_offset_of("aé日😀", 0), 0U);
  EXPECT_EQ(byte_offset_of("aé日😀", 3), 6U);
  EXPECT_EQ(byte_offset_of("aé日😀", 4), 10U);
  EXPECT_EQ(byte_offset_of("aé日😀", 9), 10U);
  EXPECT_EQ(last_code_point("a"), U'a');
  EXPECT_EQ(last_code_point("é"), U'é');
  EXPECT_EQ(last_code_point("日"), U'日');
  EXPECT_EQ(last_code_point("😀"), U'😀');
  EXPECT_EQ(last_code_point(""), std::nullopt);
}

std::string byte_by_byte(const std::string& bytes) {
  Utf8Accumulator accumulator;
  std::string text;
  for (const char byte : bytes) text += accumulator.push(std::string(1, byte));
  return text + accumulator.finish();
}

// What Python's bytes.decode("utf-8", errors="replace") gives.
TEST(Utf8, ReplacesEveryMaximalPartOfACharacter) {
  EXPECT_EQ(byte_by_byte("aé日😀"), "aé日😀");
  EXPECT_EQ(byte_by_byte("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(byte_by_byte("\xF0\x9F\x98"s + "x"), "\uFFFDx");
  EXPECT_EQ(byte_by_byte("\xE6\xE6\x97\xA5"), "\uFFFD日");
  EXPECT_EQ(byte_by_byte("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(byte_by_byte("\x80\xFF"s + "a"), "\uFFFD\uFFFDa");
  EXPECT_EQ(byte_by_byte("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8, GivesACharacterOutWithItsLastByte) {
  Utf8Accumulator accumulator;
  EXPECT_EQ(accumulator.push("a\xE6"), "a");
  EXPECT_EQ(accumulator.push("\x97"), "");
  EXPECT_EQ(accumulator.push("\xA5z"), "日z");
  EXPECT_EQ(accumulator.finish(), "");
}

}  // namespace
}  // namespace genkit::text

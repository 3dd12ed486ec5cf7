#include "genkit/base/nearest.h"

#include <gtest/gtest.h>

#include <array>

namespace genkit {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"top_p",          "top_k",     "temperature",
                                                    "max_new_tokens", "num_beams", "stop_strings"};

TEST(EditDistance, CountsInsertionsDeletionsReplacementsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("top_p", "topp"), 1);
  EXPECT_EQ(edit_distance("tpo_p", "top_p"), 1);
  EXPECT_EQ(edit_distance("Top-P", "top_p"), 0);
}

TEST(NearestName, FindsWhatWasMeant) {
  EXPECT_EQ(nearest_name("topp", kNames), "top_p");
  EXPECT_EQ(nearest_name("temprature", kNames), "temperature");
  EXPECT_EQ(nearest_name("max_new_token", kNames), "max_new_tokens");
  EXPECT_EQ(nearest_name("temp", kNames), "temperature");
  EXPECT_EQ(nearest_name("stop", kNames), "stop_strings");
}

TEST(NearestName, SaysNothingWhereNothingIsNear) {
  EXPECT_EQ(nearest_name("xylophone", kNames), "");
  EXPECT_EQ(nearest_name("", kNames), "");
  EXPECT_EQ(nearest_name(std::string(1 << 20, 'a'), kNames), "");
  EXPECT_EQ(suggestion("xylophone", kNames), "");
  EXPECT_EQ(suggestion("num_beam", kNames), "; did you mean `num_beams`?");
}

TEST(Printable, EscapesWhatATerminalWouldObeyAndCutsWhatIsLong) {
  EXPECT_EQ(printable("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(printable(std::string_view("a\0b\x1b[2J\n", 8)), "a\\x00b\\x1b[2J\\x0a");
  EXPECT_EQ(printable("\xff\xC3"), "\\xff\\xc3");
  EXPECT_EQ(printable(std::string(100, 'a'), 5), "aaaaa...");
}

}  // namespace
}  // namespace genkit

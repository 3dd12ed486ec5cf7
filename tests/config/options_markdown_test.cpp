#include "genkit/config/options_markdown.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace genkit::config {
namespace {

TEST(OptionsMarkdown, IsThePageInTheDocs) {
  const auto page = std::filesystem::path(MLXGK_TEST_DATA) / ".." / ".." / "docs" / "options.md";
  std::ifstream file(page);
  ASSERT_TRUE(file) << page;
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), options_markdown()) << "docs/options.md is stale: mlxgk options > docs/options.md";
}

}  // namespace
}  // namespace genkit::config

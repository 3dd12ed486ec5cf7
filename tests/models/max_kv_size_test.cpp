// Rows with a bounded number of positions against transformers with a mask that says the same
// (max_kv_size.json, made by tools/goldens/max_kv_size.py), however the row is fed.

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <filesystem>

#include "genkit/base/json_reader.h"
#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

TEST(MaxKvSize, EqualsTransformersUnderTheMask) {
  const nlohmann::json file = read_json_file(std::filesystem::path(MLXGK_TEST_DATA) / "max_kv_size.json");
  ASSERT_FALSE(file.at("cases").empty());
  for (const auto& golden : file.at("cases")) {
    const auto model = load({golden.at("model"), false});
    const std::vector<int32_t> ids = golden.at("ids");
    const ops::KvBound bound{golden.at("max_kv_size"), golden.at("num_sink_tokens")};
    SCOPED_TRACE(golden.at("model").get<std::string>() + " with " + std::to_string(bound.max_size));
    std::vector<mx::array> whole;
    for (const size_t piece : {ids.size(), size_t{7}, size_t{1}}) {
      cache::KvCache cache = model->make_cache();
      const int slot = cache.add_row(bound);
      std::vector<mx::array> parts;
      for (size_t begin = 0; begin < ids.size(); begin += piece) {
        const size_t end = std::min(ids.size(), begin + piece);
        models::ForwardInput input =
            packed({{ids.begin() + begin, ids.begin() + end}}, models::LogitsFor::kAll);
        input.rows[0].slot = slot;
        input.rows[0].rope_length = static_cast<int>(ids.size());
        parts.push_back(*model->forward(input, &cache).logits);
        parts.back().eval();
      }
      whole.push_back(mx::concatenate(parts, 0));
      EXPECT_EQ(max_difference(whole.back(), whole.front()), 0.0) << "in pieces of " << piece;
    }
    for (size_t i = 0; i < golden.at("positions").size(); ++i) {
      const int p = golden.at("positions")[i];
      const std::vector<float> row = golden.at("logits")[i];
      const mx::array expected(row.begin(), mx::Shape{1, static_cast<int>(row.size())});
      const mx::array got = mx::slice(whole.front(), {p, 0}, {p + 1, static_cast<int>(row.size())});
      EXPECT_LE(max_difference(got, expected), tolerance(expected)) << "position " << p;
    }
  }
}

}  // namespace
}  // namespace genkit::test

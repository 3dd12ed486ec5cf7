// Greedy generation across the length where dynamic rope and longrope change their frequencies,
// against transformers (rope_generation.json, made by tools/goldens/rope_generation.py).

#include <gtest/gtest.h>

#include <filesystem>

#include "genkit/base/json_reader.h"
#include "tests/models/golden_model.h"

namespace genkit::test {
namespace {

TEST(RopeGeneration, EqualsTransformers) {
  const nlohmann::json file = read_json_file(std::filesystem::path(MLXGK_TEST_DATA) / "rope_generation.json");
  ASSERT_FALSE(file.at("cases").empty());
  for (const auto& golden : file.at("cases")) {
    const auto model = load({golden.at("model"), false});
    std::vector<int32_t> ids = golden.at("prompt");
    const std::vector<int32_t> expected = golden.at("sequence");
    const int prompt = static_cast<int>(ids.size());
    SCOPED_TRACE(golden.at("model").get<std::string>() + " from " + std::to_string(prompt));
    cache::KvCache cache = model->make_cache();
    int slot = cache.add_row();
    std::optional<mx::array> logits;
    while (ids.size() < expected.size()) {
      const int total = static_cast<int>(ids.size());
      if (!model->can_extend(cache.length(slot), total)) {
        cache.remove_row(slot);
        slot = cache.add_row();
      }
      models::ForwardInput input =
          packed({{ids.begin() + cache.length(slot), ids.end()}}, models::LogitsFor::kLast);
      input.rows[0].slot = slot;
      input.rows[0].rope_length = model->rope_length(prompt, total);
      logits = model->forward(input, &cache).logits;
      ids.push_back(greedy(*logits)[0]);
    }
    EXPECT_EQ(ids, expected);
    const std::vector<float> last = golden.at("last_logits");
    const mx::array reference(last.begin(), mx::Shape{1, static_cast<int>(last.size())});
    EXPECT_LE(max_difference(*logits, reference), tolerance(reference));
  }
}

}  // namespace
}  // namespace genkit::test

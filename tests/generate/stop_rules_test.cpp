#include "genkit/generate/stop_rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

using nlohmann::json;

/// A clock that stands still until it is set forward.
struct FakeClock {
  std::chrono::steady_clock::time_point now{};
  void pass(double seconds) {
    now += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(seconds));
  }
  Clock get() {
    return [this] { return now; };
  }
};

/// Every step takes a second. @return the first row.
GeneratedRow run(const std::string& config, FakeClock& clock) {
  FakeModel model;
  GenerationRequest request;
  request.prompts.push_back({.ids = {1, 2, 3}});
  request.config = GenerationConfig::from_caller(json::parse(config), "");
  request.clock = clock.get();
  // A processor runs once a step of single rows, and once a beam.
  request.processors.push_back(
      [&, steps = size_t{3}](std::span<const int32_t> ids, std::span<float>) mutable {
        if (ids.size() <= steps && ids.size() != 3) return;
        steps = ids.size();
        clock.pass(1);
      });
  return generate(model, nullptr, request).rows.at(0);
}

TEST(StopRules, MaxTimeEndsARowAtItsNextTokenInEveryMode) {
  for (const char* mode : {R"("do_sample": false)", R"("do_sample": true)", R"("num_beams": 1)"}) {
    FakeClock clock;
    const GeneratedRow row =
        run(fmt::format(R"({{{}, "max_new_tokens": 40, "max_time": 4.5}})", mode), clock);
    EXPECT_EQ(row.ids.size(), 5) << mode;
    EXPECT_EQ(row.finish_reason, FinishReason::kLength) << mode;
  }
  for (const char* mode : {R"("num_beams": 2)", R"("num_beams": 2, "do_sample": true)"}) {
    FakeClock clock;
    const GeneratedRow row =
        run(fmt::format(R"({{{}, "max_new_tokens": 40, "max_time": 4.5}})", mode), clock);
    EXPECT_LT(row.ids.size(), 40) << mode;
    EXPECT_GT(row.ids.size(), 0) << mode;
    EXPECT_GE(clock.now.time_since_epoch(), std::chrono::seconds(5)) << mode;
  }
}

TEST(StopRules, MaxTimeThatDoesNotPassChangesNothing) {
  FakeClock clock, other;
  const GeneratedRow row = run(R"({"max_new_tokens": 8, "max_time": 9})", clock);
  EXPECT_EQ(row.ids, run(R"({"max_new_tokens": 8})", other).ids);
  EXPECT_EQ(row.ids.size(), 8);
}

TEST(StopRules, AMaxTimeOfZeroGivesOneToken) {
  FakeClock clock;
  EXPECT_EQ(run(R"({"max_new_tokens": 8, "max_time": 0})", clock).ids.size(), 1);
}

}  // namespace
}  // namespace genkit::generate

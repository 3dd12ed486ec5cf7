#include "genkit/steering/schedule.h"

#include <gmock/gmock.h>

#include <cmath>

#include "genkit/base/error.h"
#include "genkit/steering/positions.h"
#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;

std::vector<float> first(const Schedule& schedule, int steps) {
  std::vector<float> out;
  for (int step = 0; step < steps; ++step) out.push_back(schedule.at(step));
  return out;
}

TEST(Schedule, GivesAlphaOfEveryStep) {
  using V = std::vector<float>;
  EXPECT_EQ(first(1.5, 3), (V{1.5f, 1.5f, 1.5f}));
  EXPECT_EQ(first(Schedule::warmup(2, 4), 6), (V{0, 0.5f, 1, 1.5f, 2, 2}));
  EXPECT_EQ(first(Schedule::warmup(2, 4, 1), 5), (V{0.5f, 1, 1.5f, 2, 2}));
  EXPECT_EQ(first(Schedule::ramp(1, -1, 4), 6), (V{1, 0.5f, 0, -0.5f, -1, -1}));
  EXPECT_EQ(first(Schedule::decay(4, 1), 4), (V{4, 2, 1, 0.5f}));
  EXPECT_EQ(first(Schedule::piecewise(2, {{1, 0.5}, {3, 1}, {4, 0}}), 7), (V{1, 1, 1.5f, 2, 0, 0, 0}));
  const Schedule cosine = Schedule::cosine(3, 1, 2);
  EXPECT_FLOAT_EQ(cosine.at(0), 3);
  EXPECT_FLOAT_EQ(cosine.at(1), 2);
  EXPECT_FLOAT_EQ(cosine.at(2), 1);
  EXPECT_EQ(first(Schedule::custom([](int step) { return step * 0.25; }), 3), (V{0, 0.25f, 0.5f}));
}

TEST(Schedule, KnowsWhenItIsNothing) {
  EXPECT_TRUE(Schedule(0).is_zero());
  EXPECT_TRUE(Schedule(-0.0).is_zero());
  EXPECT_TRUE(Schedule::warmup(0, 3).is_zero());
  EXPECT_TRUE(Schedule::piecewise(5, {{0, 0}, {4, 0}}).is_zero());
  EXPECT_FALSE(Schedule::ramp(0, 1, 3).is_zero());
  EXPECT_FALSE(Schedule::cosine(0, 1, 3).is_zero());
  EXPECT_FALSE(Schedule(1e-30).is_zero());
  EXPECT_TRUE(Schedule(2).is_constant());
  EXPECT_FALSE(Schedule::warmup(2, 3).is_constant());
}

TEST(Schedule, ReadsWhatTheCommandLineSays) {
  const auto parse = [](const char* text) { return Schedule::parse(text, 2, "--steer-schedule"); };
  EXPECT_EQ(first(parse("constant"), 4), first(2, 4));
  EXPECT_EQ(first(parse("warmup:8"), 12), first(Schedule::warmup(2, 8), 12));
  EXPECT_EQ(first(parse("warmup:8:1"), 12), first(Schedule::warmup(2, 8, 1), 12));
  EXPECT_EQ(first(parse("ramp:-0.5:6"), 9), first(Schedule::ramp(2, -0.5, 6), 9));
  EXPECT_EQ(first(parse("decay:2.5"), 9), first(Schedule::decay(2, 2.5), 9));
  EXPECT_EQ(first(parse("cosine:6"), 9), first(Schedule::cosine(2, 0, 6), 9));
  EXPECT_EQ(first(parse("cosine:6:1"), 9), first(Schedule::cosine(2, 1, 6), 9));
  EXPECT_EQ(first(parse("piecewise:0=0,8=1,32=0.5"), 40),
            first(Schedule::piecewise(2, {{0, 0}, {8, 1}, {32, 0.5}}), 40));
}

TEST(Schedule, SaysWhatIsWrong) {
  const auto parse = [](const char* text) {
    return message_of<ArgumentError>([&] { Schedule::parse(text, 2, "--steer-schedule"); });
  };
  EXPECT_EQ(parse("warm:8"),
            "--steer-schedule: warm:8: expected constant, warmup, ramp, decay, cosine or piecewise");
  EXPECT_EQ(parse("warmup"), "--steer-schedule: warmup: expected warmup:STEPS or warmup:STEPS:FIRST");
  EXPECT_EQ(parse("warmup:x"), "--steer-schedule: warmup:x: expected a number of steps, got x");
  EXPECT_EQ(parse("warmup:0"), "--steer-schedule: warmup: steps: expected at least 1, got 0");
  EXPECT_EQ(parse("decay:-1"), "--steer-schedule: decay: half_life: expected a number above 0, got -1");
  EXPECT_EQ(parse("piecewise:3=1,2=0"), "--steer-schedule: piecewise: step 2 does not come after 3");
  EXPECT_EQ(parse("piecewise:3"), "--steer-schedule: piecewise:3: expected STEP=FACTOR");
  EXPECT_EQ(parse("ramp:nan:3"), "--steer-schedule: ramp: to: expected a finite number, got nan");
  EXPECT_EQ(message_of<ArgumentError>([] { Schedule(1e39); }), "alpha: expected a finite number, got 1e+39");
  const Schedule bad = Schedule::custom([](int step) { return 1.0 / (step - 2); });
  EXPECT_EQ(message_of<ArgumentError>([&] { bad.at(2); }), "schedule: alpha at step 2 is inf");
  EXPECT_EQ(message_of<ArgumentError>([] { Schedule::custom({}); }),
            "schedule: expected a function, got none");
}

/// Coefficients of a row of 9 tokens whose prompt are the first 5, fed in pieces.
std::vector<float> nine(const Positions& positions, const std::vector<int>& pieces,
                        const Schedule& schedule = 1) {
  static const Ids kTokens = {1, 20, 30, 20, 40, 50, 20, 60, 70};
  std::vector<float> out;
  int position = 0;
  for (const int length : pieces) {
    models::ForwardInput input;
    models::RowSpan span;
    span.length = length;
    span.position = position;
    span.prompt_length = 5;
    position += length;
    span.tokens = std::span(kTokens).first(static_cast<size_t>(position));
    input.rows = {span};
    for (const float c : coefficients(schedule, positions, {}, input)) out.push_back(c);
  }
  return out;
}

TEST(Positions, ChooseTokensHoweverTheyAreFed) {
  using V = std::vector<float>;
  const std::vector<std::vector<int>> ways = {
      {9}, {5, 1, 1, 1, 1}, {2, 3, 2, 2}, {1, 1, 1, 1, 1, 1, 1, 1, 1}};
  for (const std::vector<int>& way : ways) {
    EXPECT_EQ(nine(Positions::all(), way), (V{1, 1, 1, 1, 1, 1, 1, 1, 1}));
    EXPECT_EQ(nine(Positions::prompt_only(), way), (V{1, 1, 1, 1, 1, 0, 0, 0, 0}));
    EXPECT_EQ(nine(Positions::generated_only(), way), (V{0, 0, 0, 0, 0, 1, 1, 1, 1}));
    EXPECT_EQ(nine(Positions::last_and_generated(2), way), (V{0, 0, 0, 1, 1, 1, 1, 1, 1}));
    EXPECT_EQ(nine(Positions::last_and_generated(99), way), (V{1, 1, 1, 1, 1, 1, 1, 1, 1}));
    EXPECT_EQ(nine(Positions::parse("prompt-last:2", "x"), way), (V{0, 0, 0, 1, 1, 0, 0, 0, 0}));
    EXPECT_EQ(nine(Positions::after(20), way), (V{0, 0, 1, 1, 1, 1, 1, 1, 1}));
    EXPECT_EQ(nine(Positions::after(70), way), (V{0, 0, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(nine(Positions::all(), way, Schedule::warmup(1, 4)), (V{0, 0, 0, 0, 0, 0.25f, 0.5f, 0.75f, 1}));
  }
}

TEST(Positions, AreReadAndRefused) {
  const auto parse = [](const char* text) {
    return message_of<ArgumentError>([&] { Positions::parse(text, "--steer-positions"); });
  };
  EXPECT_EQ(Positions::parse("after:107", "x").after_token, 107);
  EXPECT_EQ(Positions::parse("last:3", "x").last, 3);
  EXPECT_TRUE(Positions::parse("last:3", "x").generated);
  EXPECT_FALSE(Positions::parse("generated", "x").prompt);
  EXPECT_EQ(
      parse("some"),
      "--steer-positions: expected all, prompt, generated, last:K, prompt-last:K or after:ID, got some");
  EXPECT_EQ(parse("last"), "--steer-positions: last: expected last:NUMBER");
  EXPECT_EQ(parse("last:0"), "--steer-positions: last: expected at least 1, got 0");
  EXPECT_EQ(parse("after:x"), "--steer-positions: after:x: expected after:NUMBER");
  models::ForwardInput input;
  input.rows = {{.length = 3, .position = 4}};
  EXPECT_EQ(message_of<ArgumentError>([&] { coefficients(1, Positions::after(5), {}, input); }),
            "positions: after token 5: this way of generating does not tell hooks the row's tokens");
}

}  // namespace
}  // namespace genkit::steering

#include "genkit/generate/prompt_lookup.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "genkit/generate/pass_cost.h"

namespace genkit::generate {
namespace {

using Ids = std::vector<int32_t>;

TEST(Occurrence, AgreesLongestThenLast) {
  const auto find = [](const Ids& ids, int longest) { return find_occurrence(ids, longest); };
  EXPECT_EQ(find({1, 2, 3}, 4).agreement, 0);
  EXPECT_EQ(find({}, 4).agreement, 0);
  const Occurrence last = find({7, 1, 7, 2, 7}, 4);
  EXPECT_EQ(last.next, 3u);
  EXPECT_EQ(last.agreement, 1);
  const Occurrence longer = find({5, 6, 7, 1, 7, 2, 6, 7}, 4);
  EXPECT_EQ(longer.next, 3u);
  EXPECT_EQ(longer.agreement, 2);
  EXPECT_EQ(find({5, 6, 7, 1, 7, 2, 6, 7}, 1).next, 5u) << "no further back than that is asked for";
  const Occurrence run = find({3, 3, 3, 3}, 2);
  EXPECT_EQ(run.next, 3u);
  EXPECT_EQ(run.agreement, 3) << "counted to the end";
}

// Of these the cost is fixed: what a test machine's passes cost would be another matter.
TEST(PromptLookup, LeavesATextAloneThatDoesNotRepeat) {
  PromptLookup lookup(8, 10, std::make_shared<PassCost>());
  std::mt19937 generator(4);
  Ids ids = {1};
  size_t drafted = 0;
  for (int i = 0; i < 400; ++i) {
    ids.push_back(static_cast<int32_t>(generator() % 48));
    lookup.begin(ids, 100);
    drafted += lookup.tokens().size();
  }
  EXPECT_LT(drafted, 30u) << "guesses come true once in 48 times";
}

TEST(PromptLookup, NoticesThatATextBeginsToRepeat) {
  PromptLookup lookup(8, 10, std::make_shared<PassCost>());
  std::mt19937 generator(4);
  Ids ids = {1};
  for (int i = 0; i < 300; ++i) {
    ids.push_back(static_cast<int32_t>(generator() % 48));
    lookup.begin(ids, 100);
  }
  for (int i = 0; i < 40; ++i) {
    ids.push_back(ids[ids.size() - 60]);
    lookup.begin(ids, 100);
  }
  EXPECT_EQ(lookup.tokens(), Ids(ids.end() - 60, ids.end() - 52));
  lookup.begin(ids, 3);
  EXPECT_EQ(lookup.tokens().size(), 3u);
  lookup.begin(ids, 0);
  EXPECT_TRUE(lookup.tokens().empty());
}

TEST(PromptLookup, GoesOnWithItsOwnGuessPastTheEnd) {
  PromptLookup lookup(8, 10, std::make_shared<PassCost>());
  Ids ids;
  for (int i = 0; i < 30; ++i) {
    ids.push_back(5 + i % 2);
    lookup.begin(ids, 100);
  }
  EXPECT_EQ(lookup.tokens(), (Ids{5, 6, 5, 6, 5, 6, 5, 6}));
}

TEST(PassCost, IsLearnedFromPasses) {
  PassCost cost;
  EXPECT_NEAR(cost.marginal(), 0.1, 0.02) << "the usual, before anything is known";
  for (int i = 0; i < 30; ++i) {
    cost.record(1, 1, 0.010);
    cost.record(1, 5, 0.014);
  }
  EXPECT_NEAR(cost.marginal(), 0.1, 0.02);
  for (int i = 0; i < 60; ++i) {
    cost.record(1, 1, 0.010);
    cost.record(1, 5, 0.030);
  }
  EXPECT_NEAR(cost.marginal(), 0.5, 0.1);
  for (int i = 0; i < 100; ++i) {
    cost.record(8, 8, 0.020);
    cost.record(8, 24, 0.036);
  }
  EXPECT_NEAR(cost.marginal(), 0.4, 0.08) << "of a row's share of 2.5 ms";
}

}  // namespace
}  // namespace genkit::generate

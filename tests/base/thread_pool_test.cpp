#include "genkit/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "genkit/base/error.h"

namespace genkit {
namespace {

// Puts the number of threads back after a test.
struct Threads {
  explicit Threads(int count) : before(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before); }
  int before;
};

TEST(ThreadPool, DoesEveryItemOnceInPiecesThatDoNotDependOnTheThreads) {
  std::set<std::pair<int64_t, int64_t>> first;
  for (const int threads : {1, 2, 5}) {
    const Threads set(threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> done(103);
      std::mutex mutex;
      std::set<std::pair<int64_t, int64_t>> pieces;
      parallel_for(103, 10, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++done[i];
        const std::lock_guard lock(mutex);
        pieces.insert({begin, end});
      });
      for (const auto& n : done) ASSERT_EQ(n, 1);
      if (first.empty()) first = pieces;
      ASSERT_EQ(pieces, first);
    }
  }
  EXPECT_EQ(first.size(), 11u);
}

TEST(ThreadPool, SpreadsWorkOverTheThreads) {
  const Threads set(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  parallel_for(64, 1, [&](int64_t, int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 3u);
}

TEST(ThreadPool, NestedCallsAndSeveralCallersFinish) {
  const Threads set(3);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        parallel_for(20, 3, [&](int64_t begin, int64_t end) {
          parallel_for(end - begin, 1, [&](int64_t b, int64_t e) { sum += e - b; });
        });
      }
    });
  }
  for (auto& c : callers) c.join();
  EXPECT_EQ(sum, 4 * 200 * 20);
}

TEST(ThreadPool, ThrowsWhatABodyThrewAndGoesOn) {
  const Threads set(2);
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(parallel_for(100, 1,
                              [](int64_t begin, int64_t) {
                                if (begin == 37) throw FormatError("x");
                              }),
                 FormatError);
  }
  std::atomic<int> done{0};
  parallel_for(10, 1, [&](int64_t, int64_t) { ++done; });
  EXPECT_EQ(done, 10);
}

TEST(ThreadPool, WakesAfterSleeping) {
  const Threads set(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int> done{0};
    parallel_for(10, 1, [&](int64_t, int64_t) { ++done; });
    EXPECT_EQ(done, 10);
  }
}

TEST(ThreadPool, RefusesImpossibleCounts) {
  for (const int count : {0, -3, 1025}) {
    try {
      set_num_threads(count);
      FAIL();
    } catch (const ArgumentError& e) {
      EXPECT_EQ(std::string(e.what()),
                "threads: expected a number from 1 to 1024, got " + std::to_string(count));
    }
  }
  EXPECT_GE(available_cores(), 1);
}

}  // namespace
}  // namespace genkit

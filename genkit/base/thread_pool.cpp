#include "genkit/base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "genkit/base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace genkit {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between two nodes of a graph, short enough that idle threads
// leave the core to others.
constexpr auto kSpin = std::chrono::microseconds(40);

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready` is, false when kSpin has passed without that.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

struct Job {
  detail::ChunkFunction run = nullptr;
  void* body = nullptr;
  int64_t count = 0;
  int64_t grain = 1;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  std::mutex error_mutex;

  void work() {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count || failed.load(std::memory_order_relaxed)) return;
      try {
        run(body, begin, begin + grain < count ? begin + grain : count);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        failed = true;
      }
    }
  }
};

// One job at a time. A job lives on its caller's stack, so the caller closes it and waits for
// those inside before it returns: a worker enters (inside_ + 1), then looks whether it is open.
class Pool {
 public:
  static Pool& instance() {
    // Never destroyed: other threads of the process may still compute while it exits.
    static Pool* pool = new Pool;
    return *pool;
  }

  int size() const { return size_.load(std::memory_order_relaxed); }

  void resize(int count) {
    const std::lock_guard lock(owner_);
    stop_workers();
    size_ = count;
  }

  bool try_run(Job& job) {
    if (inside_job_ || !owner_.try_lock()) return false;
    const std::lock_guard lock(owner_, std::adopt_lock);
    if (static_cast<int>(workers_.size()) + 1 < size()) start_workers();
    job_ = &job;
    open_.store(true);
    epoch_.fetch_add(1);
    if (sleeping_.load() > 0) epoch_.notify_all();
    inside_job_ = true;
    job.work();
    inside_job_ = false;
    open_.store(false);
    if (!spin_until([&] { return inside_.load() == 0; })) {
      for (int n = inside_.load(); n != 0; n = inside_.load()) inside_.wait(n);
    }
    return true;
  }

 private:
  void start_workers() {
    stop_ = false;
    while (static_cast<int>(workers_.size()) + 1 < size())
      workers_.emplace_back([this, seen = epoch_.load()] { worker(seen); });
  }

  void stop_workers() {
    stop_ = true;
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (auto& w : workers_) w.join();
    workers_.clear();
  }

  void worker(uint32_t seen) {
    inside_job_ = true;
    for (;;) {
      if (!spin_until([&] { return epoch_.load() != seen; })) {
        sleeping_.fetch_add(1);
        epoch_.wait(seen);
        sleeping_.fetch_sub(1);
      }
      seen = epoch_.load();
      if (stop_) return;
      inside_.fetch_add(1);
      if (open_.load()) job_->work();
      if (inside_.fetch_sub(1) == 1) inside_.notify_all();
    }
  }

  std::mutex owner_;
  std::vector<std::thread> workers_;
  std::atomic<int> size_{available_cores()};
  std::atomic<uint32_t> epoch_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<int> inside_{0};
  std::atomic<bool> open_{false};
  std::atomic<bool> stop_{false};
  Job* job_ = nullptr;
  static thread_local bool inside_job_;
};

thread_local bool Pool::inside_job_ = false;

}  // namespace

void set_num_threads(int count) {
  if (count < 1 || count > 1024)
    throw ArgumentError("threads: expected a number from 1 to 1024, got " + std::to_string(count));
  if (count != num_threads()) Pool::instance().resize(count);
}

int num_threads() { return Pool::instance().size(); }

void detail::parallel_chunks(int64_t count, int64_t grain, ChunkFunction run, void* body) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  Job job;
  job.run = run;
  job.body = body;
  job.count = count;
  job.grain = grain;
  if (count <= grain || num_threads() == 1 || !Pool::instance().try_run(job)) job.work();
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace genkit

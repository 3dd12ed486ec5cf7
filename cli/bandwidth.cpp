#include "cli/bandwidth.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "genkit/base/pages.h"

namespace genkit::cli {

namespace {

const auto kStaticInit = std::chrono::steady_clock::now();

// Fetched as the kernels do: without it a core waits at every page.
uint64_t sum(const uint64_t* data, size_t count) {
  constexpr size_t kAhead = 8192 / sizeof(uint64_t);
  uint64_t parts[8] = {};
  for (size_t i = 0; i + 8 <= count; i += 8) {
    __builtin_prefetch(data + i + kAhead, 0, 2);
    for (size_t j = 0; j < 8; ++j) parts[j] += data[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t part : parts) total += part;
  return total;
}

}  // namespace

double read_bandwidth(int threads) {
  constexpr size_t kBytes = size_t{256} << 20;
  constexpr int kPasses = 8;
  // In large pages where the system has them, as repacked weights are.
  std::shared_ptr<uint8_t> memory = allocate_pages(kBytes);
  if (!memory) memory.reset(new uint8_t[kBytes], std::default_delete<uint8_t[]>());
  std::memset(memory.get(), 1, kBytes);
  const auto* data = reinterpret_cast<const uint64_t*>(memory.get());
  const size_t share = kBytes / sizeof(uint64_t) / static_cast<size_t>(threads);
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (size_t i = 1; i < sums.size(); ++i) {
      workers.emplace_back([&, i] { sums[i] = sum(data + i * share, share); });
    }
    sums[0] = sum(data, share);
    for (std::thread& worker : workers) worker.join();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    // The sums are used, so that the reads are not optimised away.
    const uint64_t total = std::max<uint64_t>(sums.front() + sums.back(), 1);
    best = std::max(best,
                    total == 0 ? 0 : static_cast<double>(share * sums.size() * sizeof(uint64_t)) / seconds);
  }
  return best;
}

double seconds_since_start() {
#ifdef __linux__
  // Field 22 of /proc/self/stat: clock ticks after boot. The name in field 2 may hold anything.
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  if (const size_t close = text.rfind(')'); close != std::string::npos) {
    std::istringstream fields(text.substr(close + 1));
    std::string field;
    for (int i = 3; i <= 22 && fields >> field; ++i) {
    }
    timespec now = {};
    if (fields && clock_gettime(CLOCK_BOOTTIME, &now) == 0) {
      const double started = std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
      return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 - started;
    }
  }
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - kStaticInit).count();
}

}  // namespace genkit::cli

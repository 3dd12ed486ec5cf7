#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "genkit/base/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace genkit {
namespace {

#if defined(__linux__)
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Whole cores that the cgroup's quota pays for; 0 when it sets none.
int quota_cores() {
  // v2: "quota period" or "max period"; inside a container the group is mounted as the root.
  const std::string v2 = first_line("/sys/fs/cgroup/cpu.max");
  try {
    if (!v2.empty() && v2.substr(0, 3) != "max") {
      size_t used = 0;
      const double quota = std::stod(v2, &used), period = std::stod(v2.substr(used));
      return period > 0 ? std::max(1, static_cast<int>(std::lround(quota / period))) : 0;
    }
    const std::string quota = first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    const std::string period = first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!quota.empty() && !period.empty() && std::stod(quota) > 0 && std::stod(period) > 0)
      return std::max(1, static_cast<int>(std::lround(std::stod(quota) / std::stod(period))));
  } catch (const std::exception&) {
    // An unreadable quota is no quota.
  }
  return 0;
}

int affine_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    const std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? "cpu" + std::to_string(cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}
#endif

}  // namespace

int available_cores() {
  int cores = 0;
#if defined(__linux__)
  cores = affine_cores();
  if (const int quota = quota_cores(); quota > 0) cores = cores > 0 ? std::min(cores, quota) : quota;
#elif defined(__APPLE__)
  size_t size = sizeof cores;
  // Performance cores; the efficient ones would make every piece wait for the slowest.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) != 0) cores = 0;
#endif
  if (cores <= 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores);
}

}  // namespace genkit

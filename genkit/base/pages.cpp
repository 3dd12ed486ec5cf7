#include "genkit/base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <string>

namespace genkit {
namespace {

constexpr size_t kLargePage = size_t{2} << 20, kRegion = size_t{64} << 20;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// One mapping from which blocks are cut.
class Region {
 public:
  static std::shared_ptr<Region> make(size_t bytes) {
    // A large page begins at its own multiple.
    const size_t size = bytes + kLargePage;
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    auto region = std::make_shared<Region>();
    region->mapping_ = data;
    region->size_ = size;
    region->next_ = round_up(reinterpret_cast<uintptr_t>(data), kLargePage);
    region->end_ = region->next_ + bytes;
#if defined(MADV_HUGEPAGE)
    ::madvise(reinterpret_cast<void*>(region->next_), bytes, MADV_HUGEPAGE);
#endif
    return region;
  }
  ~Region() {
    if (mapping_ != nullptr) ::munmap(mapping_, size_);
  }

  uint8_t* cut(size_t bytes) {
    if (end_ - next_ < bytes) return nullptr;
    auto* at = reinterpret_cast<uint8_t*>(next_);
    next_ += bytes;
    return at;
  }

 private:
  void* mapping_ = nullptr;
  size_t size_ = 0;
  uintptr_t next_ = 0, end_ = 0;
};

size_t number_in(const char* file, const std::string& field) {
  std::ifstream in(file);
  std::string word;
  while (in >> word) {
    size_t number = 0;
    if (!field.empty() && word != field) continue;
    if (field.empty()) {
      return word.find_first_not_of("0123456789") == std::string::npos ? std::stoull(word)
                                                                       : std::numeric_limits<size_t>::max();
    }
    if (in >> number) return number;
  }
  return std::numeric_limits<size_t>::max();
}

struct Mappings {
  std::mutex mutex;
  std::map<uintptr_t, size_t> sizes;  // by where they begin
};
Mappings& mappings() {
  static auto* const all = new Mappings;  // outlives every file
  return *all;
}

}  // namespace

std::shared_ptr<uint8_t> allocate_pages(size_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Region> current;
  if (bytes > std::numeric_limits<size_t>::max() / 2) return nullptr;  // so that no sum below overflows
  bytes = round_up(bytes, 64);
  const std::scoped_lock lock(mutex);
  std::shared_ptr<Region> region = current.lock();
  uint8_t* at = region ? region->cut(bytes) : nullptr;
  if (at == nullptr) {
    const size_t size = std::max(kRegion, round_up(bytes, kLargePage));
    // A sixteenth is left to others.
    const size_t available = available_memory();
    if (available - available / 16 < size) return nullptr;
    region = Region::make(size);
    if (!region) return nullptr;
    at = region->cut(bytes);
    current = region;
  }
  return {region, at};
}

size_t available_memory() {
  constexpr size_t kAny = std::numeric_limits<size_t>::max();
  size_t available = kAny;
#if defined(__linux__)
  const size_t kilobytes = number_in("/proc/meminfo", "MemAvailable:");
  if (kilobytes != kAny) available = kilobytes * 1024;
  const size_t most = number_in("/sys/fs/cgroup/memory.max", "");
  const size_t used = number_in("/sys/fs/cgroup/memory.current", "");
  if (most != kAny && used != kAny) {
    // What files keep in memory is given up first.
    size_t files = number_in("/sys/fs/cgroup/memory.stat", "inactive_file");
    if (files == kAny) files = 0;
    available = std::min(available, most - std::min(most, used - std::min(used, files)));
  }
#endif
  return available;
}

void note_file_mapping(const void* data, size_t bytes) {
  const std::scoped_lock lock(mappings().mutex);
  mappings().sizes[reinterpret_cast<uintptr_t>(data)] = bytes;
}

void forget_file_mapping(const void* data) {
  const std::scoped_lock lock(mappings().mutex);
  mappings().sizes.erase(reinterpret_cast<uintptr_t>(data));
}

void release_file_pages(const void* data, size_t bytes) {
#if defined(MADV_DONTNEED)
  const auto begin = reinterpret_cast<uintptr_t>(data), end = begin + bytes;
  const std::scoped_lock lock(mappings().mutex);
  const auto next = mappings().sizes.upper_bound(begin);
  if (next == mappings().sizes.begin()) return;
  const auto& [start, size] = *std::prev(next);
  if (end > start + size) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = round_up(begin, page), last = end / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
#endif
}

}  // namespace genkit

#include "genkit/io/atomic_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "genkit/base/error.h"

namespace genkit::io {
namespace {

// The mode a file would have had, had it been created by its own name. mkstemp gives 0600, and the
// umask can only be read by setting it, which other threads would see.
mode_t mode_for(const std::filesystem::path& target) {
  struct stat info {};
  if (::stat(target.c_str(), &info) == 0) return info.st_mode & 0777;
  return 0644;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::string pattern = path_.string() + ".tmp-XXXXXX";
  const int fd = ::mkstemp(pattern.data());
  if (fd < 0) fail();
  temporary_ = pattern;
  if (::fchmod(fd, mode_for(path_)) == 0) file_ = ::fdopen(fd, "wb");
  if (file_ == nullptr) {
    const int reason = errno;
    ::close(fd);
    ::unlink(temporary_.c_str());
    errno = reason;
    fail();
  }
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::fail() {
  throw IoError(fmt::format("{}: cannot write: {}", path_.string(), std::strerror(errno)));
}

void AtomicFile::discard() {
  if (file_ != nullptr) {
    std::fclose(file_);
    ::unlink(temporary_.c_str());
    file_ = nullptr;
  }
}

void AtomicFile::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail();
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
  std::fclose(file_);
  file_ = nullptr;
}

}  // namespace genkit::io

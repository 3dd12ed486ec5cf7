#include "genkit/io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "genkit/base/error.h"
#include "genkit/base/pages.h"

namespace genkit::io {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path) {
  throw IoError(fmt::format("{}: {}", path.string(), std::strerror(errno)));
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  // Non-blocking, so that a named pipe is refused below and not waited for.
  const Descriptor descriptor{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (descriptor.fd < 0) fail(path);
  struct stat info {};
  if (::fstat(descriptor.fd, &info) != 0) fail(path);
  if (S_ISDIR(info.st_mode)) throw IoError(fmt::format("{}: expected a file, got a folder", path.string()));
  if (!S_ISREG(info.st_mode)) throw IoError(fmt::format("{}: expected a regular file", path.string()));
  file->size_ = size_t(info.st_size);
  if (file->size_ == 0) return file;  // mmap refuses length 0
  void* data = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor.fd, 0);
  if (data == MAP_FAILED) fail(path);
  file->data_ = static_cast<const uint8_t*>(data);
  note_file_mapping(data, file->size_);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  forget_file_mapping(data_);
  ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace genkit::io

#include "cli/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "genkit/base/error.h"

namespace genkit::cli {

void Output::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd_, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd ready{fd_, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno == EPIPE) {
      throw ReaderLeft();
    } else if (errno != EINTR) {
      const char* name = fd_ == 1 ? "standard output" : fd_ == 2 ? "standard error" : "output";
      throw IoError(fmt::format("{}: {}", name, std::strerror(errno)));
    }
  }
}

void Output::try_write(std::string_view text) noexcept {
  try {
    write(text);
  } catch (...) {
    // Nobody is left to tell.
  }
}

bool Output::is_terminal() const { return ::isatty(fd_) == 1; }

OutputStream::OutputStream(Output& out) : OutputBuffer(out), std::ostream(static_cast<OutputBuffer*>(this)) {
  exceptions(std::ios::badbit);  // lets what write() throws through, instead of swallowing it
}

OutputBuffer::~OutputBuffer() { out_.try_write(pending_); }

OutputBuffer::int_type OutputBuffer::overflow(int_type c) {
  if (c == traits_type::eof()) return 0;
  const char byte = traits_type::to_char_type(c);
  return xsputn(&byte, 1) == 1 ? c : traits_type::eof();
}

std::streamsize OutputBuffer::xsputn(const char* text, std::streamsize count) {
  pending_.append(text, static_cast<size_t>(count));
  if (pending_.size() > size_t{1} << 16) sync();
  return count;
}

int OutputBuffer::sync() {
  const std::string text = std::exchange(pending_, {});
  out_.write(text);
  return 0;
}

}  // namespace genkit::cli

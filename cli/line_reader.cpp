#include "cli/line_reader.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "genkit/base/error.h"

namespace genkit::cli {

LineReader::Result LineReader::read() {
  for (;;) {
    if (const size_t newline = buffer_.find('\n'); newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      if (line.ends_with('\r')) line.pop_back();
      return {Status::kLine, std::move(line)};
    }
    pollfd waiting[2] = {{interrupt_descriptor_, POLLIN, 0}, {0, POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) {
      throw IoError(fmt::format("standard input: {}", std::strerror(errno)));
    }
    if (waiting[0].revents != 0) {
      buffer_.clear();
      return {Status::kInterrupted, {}};
    }
    if (waiting[1].revents == 0) continue;
    char chunk[4096];
    const ssize_t n = ::read(0, chunk, sizeof chunk);
    if (n > 0) {
      buffer_.append(chunk, static_cast<size_t>(n));
    } else if (n == 0) {
      if (buffer_.empty()) return {Status::kEnd, {}};
      return {Status::kLine, std::exchange(buffer_, {})};
    } else if (errno != EINTR) {
      throw IoError(fmt::format("standard input: {}", std::strerror(errno)));
    }
  }
}

}  // namespace genkit::cli

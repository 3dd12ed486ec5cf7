#include "cli/line_reader.h"

#include <fmt/format.h>
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
    char chunk[4096];
    const ssize_t n = ::read(0, chunk, sizeof chunk);
    if (n > 0) {
      buffer_.append(chunk, static_cast<size_t>(n));
    } else if (n == 0) {
      if (buffer_.empty()) return {Status::kEnd, {}};
      return {Status::kLine, std::exchange(buffer_, {})};
    } else if (errno == EINTR) {
      buffer_.clear();
      return {Status::kInterrupted, {}};
    } else {
      throw IoError(fmt::format("standard input: {}", std::strerror(errno)));
    }
  }
}

}  // namespace genkit::cli

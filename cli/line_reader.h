#pragma once

#include <functional>
#include <optional>
#include <string>

namespace genkit::cli {

/// Lines of standard input. Ctrl-C gives up the line that is being typed.
class LineReader {
 public:
  enum class Status { kLine, kInterrupted, kEnd };
  struct Result {
    Status status;
    std::string line;  ///< without its newline
  };

  /// @throws IoError.
  Result read();

 private:
  std::string buffer_;
};

}  // namespace genkit::cli

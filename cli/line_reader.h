#pragma once

#include <string>

namespace genkit::cli {

/// Lines of standard input. Ctrl-C gives up the line that is being typed.
class LineReader {
 public:
  /// @param interrupt_descriptor readable while a Ctrl-C waits to be dealt with.
  explicit LineReader(int interrupt_descriptor) : interrupt_descriptor_(interrupt_descriptor) {}

  enum class Status { kLine, kInterrupted, kEnd };
  struct Result {
    Status status;
    std::string line;  ///< without its newline
  };

  /// @throws IoError.
  Result read();

 private:
  int interrupt_descriptor_;
  std::string buffer_;
};

}  // namespace genkit::cli

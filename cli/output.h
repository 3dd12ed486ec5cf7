#pragma once

#include <exception>
#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace genkit::cli {

/// The program that read our output ended (`mlxgk ... | head`): not a failure.
class ReaderLeft : public std::exception {};

/// A file descriptor written to at once, so that text appears when it is there and a full disk or
/// a closed pipe is noticed.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}

  /// @throws ReaderLeft when a pipe has no reader; IoError for anything else.
  void write(std::string_view text);
  /// The same, but failures are ignored: for messages about failures.
  void try_write(std::string_view text) noexcept;
  bool is_terminal() const;

 private:
  int fd_;
};

/// What OutputStream writes through.
class OutputBuffer : public std::streambuf {
 public:
  explicit OutputBuffer(Output& out) : out_(out) {}
  ~OutputBuffer() override;

 private:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* text, std::streamsize count) override;
  int sync() override;

  Output& out_;
  std::string pending_;
};

/// The same as a stream, for code that writes to one. Errors are thrown through it.
class OutputStream : private OutputBuffer, public std::ostream {
 public:
  explicit OutputStream(Output& out);
};

}  // namespace genkit::cli

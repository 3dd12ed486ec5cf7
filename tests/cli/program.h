#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace genkit::test {

/// How a program ended and what it wrote.
struct Outcome {
  int code = -1;    ///< exit code; 128 + the signal that killed it
  std::string out;  ///< standard output; with a terminal both streams
  std::string err;
};

struct RunOptions {
  std::string input;          ///< for standard input, which is closed after it
  bool close_stdout = false;  ///< start with no standard output at all
  bool stdout_full = false;   ///< standard output is /dev/full
  /// What standard output is read up to before its reader leaves; nothing: to the end.
  std::optional<size_t> read_only;
  std::chrono::seconds limit{300};  ///< a program that takes longer is killed, which is a failure
};

/// Runs build/bin/NAME. @param args [0] is the program's name.
Outcome run_program(const std::vector<std::string>& args, const RunOptions& options = {});

/// The same with a terminal for all three streams. Types `keys` once `after` has been seen.
struct Typing {
  std::string after;
  std::string keys;  ///< "\x03" is Ctrl-C, "\x04" Ctrl-D
};
Outcome run_in_terminal(const std::vector<std::string>& args, const std::vector<Typing>& typing = {});

/// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The real weights, or an empty string where they have not been fetched.
std::string real_weights();
/// A model of the golden set.
std::string golden_model(const std::string& name);
std::string golden_tokenizer(const std::string& name);

}  // namespace genkit::test

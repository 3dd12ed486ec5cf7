#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace genkit::cli {

/// Documented in `mlxgk --help`.
enum ExitCode : int { kOk = 0, kFailure = 1, kUsage = 2 };

/// One subcommand.
struct Command {
  std::string_view name;
  std::string_view summary;
  std::string_view alias;  ///< name of the program that is this subcommand, or empty
  /// @param program how the user called it, for messages. @return an ExitCode.
  int (*run)(const std::string& program, std::vector<std::string> args);
};

std::span<const Command> commands();

int run_generate(const std::string& program, std::vector<std::string> args);
int run_chat(const std::string& program, std::vector<std::string> args);
int run_forward(const std::string& program, std::vector<std::string> args);
int run_tokenize(const std::string& program, std::vector<std::string> args);
int run_info(const std::string& program, std::vector<std::string> args);
int run_bench(const std::string& program, std::vector<std::string> args);
int run_goldens(const std::string& program, std::vector<std::string> args);
int run_steer(const std::string& program, std::vector<std::string> args);
int run_options(const std::string& program, std::vector<std::string> args);
int run_download(const std::string& program, std::vector<std::string> args);

/// The command line is wrong: ends with exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace genkit::cli

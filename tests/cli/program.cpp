#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace genkit::test {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void execute(const std::vector<std::string>& args) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const std::string path = std::string(MLXGK_BIN_DIR) + "/" + args.at(0);
  ::execv(path.c_str(), argv.data());
  ::_exit(127);
}

int exit_code(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    read = fds[0];
    write = fds[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() {
    if (read >= 0) ::close(std::exchange(read, -1));
  }
  void close_write() {
    if (write >= 0) ::close(std::exchange(write, -1));
  }
};

/// Appends what is there. @return false at the end of the stream.
bool drain(int fd, std::string& text) {
  char buffer[4096];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n > 0) text.append(buffer, static_cast<size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

}  // namespace

Outcome run_program(const std::vector<std::string>& args, const RunOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe in, out, err;
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(in.read, 0);
    ::dup2(err.write, 2);
    if (options.close_stdout) {
      ::close(1);
    } else if (options.stdout_full) {
      ::dup2(::open("/dev/full", O_WRONLY), 1);
    } else {
      ::dup2(out.write, 1);
    }
    execute(args);
  }
  in.close_read();
  out.close_write();
  err.close_write();
  if (!options.input.empty()) {
    // Inputs of tests fit a pipe's buffer.
    (void)!::write(in.write, options.input.data(), options.input.size());
  }
  in.close_write();

  Outcome run;
  const auto deadline = Clock::now() + options.limit;
  while (out.read >= 0 || err.read >= 0) {
    pollfd fds[] = {{out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
    if (::poll(fds, 2, 200) > 0) {
      if (out.read >= 0 && fds[0].revents != 0 && !drain(out.read, run.out)) out.close_read();
      if (err.read >= 0 && fds[1].revents != 0 && !drain(err.read, run.err)) err.close_read();
    }
    if (options.read_only && run.out.size() >= *options.read_only) out.close_read();
    if (Clock::now() > deadline) {
      ::kill(child, SIGKILL);
      run.err += "(killed: it took too long)";
      break;
    }
  }
  run.code = exit_code(child);
  return run;
}

Outcome run_in_terminal(const std::vector<std::string>& args, const std::vector<Typing>& typing) {
  int terminal = -1;
  winsize size = {24, 80, 0, 0};
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    ::setenv("TERM", "xterm", 1);
    execute(args);
  }
  Outcome run;
  size_t next = 0, seen = 0;
  const auto deadline = Clock::now() + std::chrono::seconds(300);
  for (;;) {
    pollfd fd = {terminal, POLLIN, 0};
    if (::poll(&fd, 1, 200) > 0 && !drain(terminal, run.out)) break;
    while (next < typing.size()) {
      const size_t found = run.out.find(typing[next].after, seen);
      if (found == std::string::npos) break;
      seen = found + typing[next].after.size();
      (void)!::write(terminal, typing[next].keys.data(), typing[next].keys.size());
      ++next;
    }
    if (Clock::now() > deadline) {
      ::kill(child, SIGKILL);
      run.err = "(killed: it took too long)";
      break;
    }
  }
  ::close(terminal);
  run.code = exit_code(child);
  return run;
}

TemporaryFolder::TemporaryFolder() {
  path_ = (std::filesystem::temp_directory_path() / "mlxgk-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string real_weights() {
  const std::string path = std::string(MLXGK_MODELS_DIR) + "/gemma-3-270m-q4_k_m.gguf";
  return std::filesystem::exists(path) ? path : "";
}

std::string golden_model(const std::string& name) {
  return std::string(MLXGK_TEST_DATA) + "/../goldens/models/" + name;
}

std::string golden_tokenizer(const std::string& name) {
  return std::string(MLXGK_TEST_DATA) + "/../goldens/tokenizers/" + name;
}

}  // namespace genkit::test

#include "cli/signals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "genkit/base/error.h"

namespace genkit::cli {

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);
int wake_pipe[2] = {-1, -1};  // read end, write end

void on_interrupt(int signal) {
  const int saved_errno = errno;
  if (interrupted.exchange(true)) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
  (void)!::write(wake_pipe[1], "", 1);
  errno = saved_errno;
}

void open_wake_pipe() {
  if (wake_pipe[0] != -1) return;
  if (::pipe(wake_pipe) != 0) throw IoError(fmt::format("pipe: {}", std::strerror(errno)));
  for (const int fd : wake_pipe) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

void set_handler(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

void prepare_process() {
  ::signal(SIGPIPE, SIG_IGN);
  for (int fd = 0; fd <= 2; ++fd) {
    // The wrong direction on purpose: using the stream fails as it did before.
    if (::fcntl(fd, F_GETFD) == -1) (void)!::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

InterruptGuard::InterruptGuard() {
  open_wake_pipe();
  reset();
  set_handler(on_interrupt);
}

InterruptGuard::~InterruptGuard() { set_handler(SIG_DFL); }

const std::atomic<bool>* InterruptGuard::flag() const { return &interrupted; }

int InterruptGuard::descriptor() const { return wake_pipe[0]; }

void InterruptGuard::reset() {
  char bytes[64];
  while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
  interrupted = false;
}

}  // namespace genkit::cli

#include "cli/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace genkit::cli {

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_interrupt(int signal) {
  if (interrupted.exchange(true)) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
}

void set_handler(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: reading a line must notice
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
  interrupted = false;
  set_handler(on_interrupt);
}

InterruptGuard::~InterruptGuard() { set_handler(SIG_DFL); }

const std::atomic<bool>* InterruptGuard::flag() const { return &interrupted; }

void InterruptGuard::reset() { interrupted = false; }

}  // namespace genkit::cli

#pragma once

#include <atomic>

namespace genkit::cli {

/// Once at the start: a vanished reader is an error code instead of a signal, and standard streams
/// that the caller closed are not reused for files that we open.
void prepare_process();

/// While alive, the first Ctrl-C sets requested() and a second one kills the program.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  const std::atomic<bool>* flag() const;
  bool requested() const { return flag()->load(); }
  /// Readable from a Ctrl-C until reset(), so that waiting for input cannot miss one that comes just
  /// before it begins, whichever thread the system gives the signal to.
  int descriptor() const;
  /// Forgets a Ctrl-C that has been dealt with.
  void reset();
};

}  // namespace genkit::cli

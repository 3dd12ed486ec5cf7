#pragma once

#include <chrono>
#include <string>

namespace genkit::cli {

/// A bar on standard error while something takes long: only where that is a terminal, gone when
/// the object is, and never a byte into a pipe.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// @param done of `total` steps. @param what is being done, shown after the bar; may be empty.
  void update(size_t done, size_t total, const std::string& what = {});
  /// Takes the bar off the screen.
  void clear();

 private:
  std::string label_;
  bool enabled_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

/// Columns of the terminal that standard error is, 80 if that cannot be found out.
int terminal_width();

}  // namespace genkit::cli

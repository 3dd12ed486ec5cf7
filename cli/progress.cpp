#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "cli/output.h"

namespace genkit::cli {

namespace {

bool can_draw() {
  const char* term = std::getenv("TERM");
  return ::isatty(2) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

int terminal_width() {
  winsize size = {};
  return ::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), enabled_(can_draw()) {}

void ProgressBar::update(size_t done, size_t total, const std::string& what) {
  if (!enabled_ || total == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (shown_ && done < total && now - last_ < std::chrono::milliseconds(50)) return;
  last_ = now;
  shown_ = true;
  const int width = std::clamp(terminal_width() - static_cast<int>(label_.size() + what.size()) - 12, 4, 40);
  const size_t filled = std::min(done, total) * static_cast<size_t>(width) / total;
  Output(2).try_write(fmt::format("\r\033[K{} [{}{}] {:3}%{}{}", label_, std::string(filled, '#'),
                                  std::string(static_cast<size_t>(width) - filled, ' '),
                                  std::min(done, total) * 100 / total, what.empty() ? "" : " ", what));
}

void ProgressBar::clear() {
  if (!shown_) return;
  Output(2).try_write("\r\033[K");
  shown_ = false;
}

}  // namespace genkit::cli

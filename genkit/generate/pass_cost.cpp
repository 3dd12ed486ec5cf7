#include "genkit/generate/pass_cost.h"

#include <algorithm>

namespace genkit::generate {
namespace {

// Before anything is measured, and where all passes are of one size.
constexpr double kUsual = 0.1;
// What the usual ratio counts for: half a pass that is three tokens off the mean.
constexpr double kUsualWeight = 5;
constexpr double kDecay = 0.97;
// A pass that another program has delayed counts as no more than this, in units of what was expected.
constexpr double kLongest = 2;

}  // namespace

void PassCost::record(size_t rows, size_t tokens, double seconds) {
  const double n = static_cast<double>(tokens);
  if (count_ > 0) {
    const Line line = fit();
    seconds = std::min(seconds, kLongest * (line.base + line.slope * n));
  }
  rows_ = std::max<size_t>(rows, 1);
  for (double* sum : {&count_, &tokens_, &squares_, &seconds_, &products_}) *sum *= kDecay;
  count_ += 1;
  tokens_ += n;
  squares_ += n * n;
  seconds_ += seconds;
  products_ += n * seconds;
}

/// Least squares with (slope - usual * base)^2 among them.
PassCost::Line PassCost::fit() const {
  if (count_ == 0) return {1, kUsual};
  const double a = count_ + kUsualWeight * kUsual * kUsual, b = tokens_ - kUsualWeight * kUsual;
  const double d = squares_ + kUsualWeight;
  const double determinant = a * d - b * b;
  if (!(determinant > 0)) return {1, kUsual};
  const double base = (seconds_ * d - products_ * b) / determinant;
  const double slope = (a * products_ - b * seconds_) / determinant;
  if (!(base > 0)) return {1, 1};  // all of the time goes into the tokens
  return {base, std::max(slope, 0.0)};
}

double PassCost::marginal() const {
  const Line line = fit();
  const double rows = static_cast<double>(rows_);
  return line.slope * rows / (line.base + line.slope * rows);
}

}  // namespace genkit::generate

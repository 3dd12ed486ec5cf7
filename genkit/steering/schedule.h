#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genkit::steering {

/// alpha as a function of the step. Every position of the prompt has step 0, the k-th generated
/// token has step k. Steps are a matter of the position alone, so the coefficients, and what is
/// kept of them in the cache, are the same however the tokens are cut into passes.
///
/// Computed in double precision, rounded to float32 once.
class Schedule {
 public:
  /// @throws ArgumentError naming `alpha` where it is not finite, as all of these do; and naming the
  ///         schedule where its own numbers make no sense.
  /*implicit*/ Schedule(double alpha) : Schedule(constant(alpha)) {}
  static Schedule constant(double alpha);
  /// alpha * min(1, (step + first) / steps). With `first` 0 the prompt gets nothing and the first
  /// generated token 1/steps of it; with `first` 1 the prompt already gets 1/steps.
  static Schedule warmup(double alpha, int steps, int first = 0);
  /// From `alpha` at step 0 in a straight line to `to` at step `steps`, and constant from there.
  static Schedule ramp(double alpha, double to, int steps);
  /// alpha * 0.5^(step / half_life).
  static Schedule decay(double alpha, double half_life);
  /// to + (alpha - to) * (1 + cos(pi * min(1, step / steps))) / 2: from alpha to `to` in `steps`.
  static Schedule cosine(double alpha, double to, int steps);
  /// alpha times a factor, in straight lines between (step, factor) points; before the first and
  /// after the last it is theirs. Steps rise strictly.
  static Schedule piecewise(double alpha, std::vector<std::pair<int, double>> points);
  /// Whatever the caller likes; called with steps from 0, in any order and more than once for the
  /// same step, and must answer alike.
  static Schedule custom(std::function<double(int step)> alpha);

  /// As the command line spells it: "constant", "warmup:8", "warmup:8:1", "ramp:TO:STEPS",
  /// "decay:HALF_LIFE", "cosine:STEPS", "cosine:STEPS:TO", "piecewise:0=0,8=1,32=0.5".
  /// @throws ArgumentError naming `option` and what is wrong with it.
  static Schedule parse(std::string_view text, double alpha, const std::string& option);

  /// @throws ArgumentError naming the step where a custom schedule gives no finite number.
  float at(int step) const;
  /// True where it is known to be 0 at every step: such a hook is as good as none.
  bool is_zero() const;
  bool is_constant() const;

 private:
  explicit Schedule(std::function<double(int)> value, bool constant, bool zero)
      : value_(std::move(value)), constant_(constant), zero_(zero) {}
  std::function<double(int)> value_;
  bool constant_;
  bool zero_;
};

}  // namespace genkit::steering

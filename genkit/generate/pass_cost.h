#pragma once

#include <cstddef>

namespace genkit::generate {

/// What one more token costs in a decoding pass, learned from the passes themselves: their seconds are
/// fitted by base + slope * tokens, older passes counting less and less.
class PassCost {
 public:
  /// @param rows that decoded in the pass. @param tokens of all of them together.
  void record(size_t rows, size_t tokens, double seconds);
  /// Time of one more token, as a share of what a row costs in a pass of one token a row.
  double marginal() const;

 private:
  struct Line {
    double base, slope;
  };
  Line fit() const;

  // Decayed sums over passes: 1, tokens, tokens^2, seconds, tokens * seconds.
  double count_ = 0, tokens_ = 0, squares_ = 0, seconds_ = 0, products_ = 0;
  size_t rows_ = 1;
};

}  // namespace genkit::generate

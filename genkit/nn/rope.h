#pragma once

#include <mlx/array.h>

#include <optional>
#include <vector>

#include "genkit/config/rope_config.h"
#include "genkit/ops/layers.h"

namespace genkit::nn {

namespace mx = mlx::core;

/// One row's share of packed tokens, as rope sees it.
struct RopeSpan {
  int length = 0;
  int position = 0;     ///< of its first token
  int rope_length = 0;  ///< @see models::RowSpan::rope_length
};

/// Where the packed tokens stand.
struct Positions {
  mx::array ids = mx::array({0});   ///< [tokens] int32
  std::vector<RopeSpan> spans;      ///< their lengths add up to `tokens`
  std::optional<int> batch_length;  ///< in place of the spans' own lengths, for all of them
};

/// Packed tokens that share one choice of frequencies.
struct RopeRun {
  int begin = 0;
  int end = 0;     ///< past the last token
  int length = 0;  ///< the total length that chose the frequencies
};

/// A rotary position embedding with its scaling. Immutable.
class Rope {
 public:
  Rope(const config::RopeConfig& config, bool interleaved);

  /// Rotates heads. @param x [tokens, heads, head_dim].
  mx::array operator()(const mx::array& x, const Positions& positions) const;

  /// Cuts tokens into consecutive runs that use the same frequencies. One run where the type does
  /// not look at the length.
  std::vector<RopeRun> runs(const Positions& positions) const;

  /// Of the first `length` tokens of two rows, how many leading ones are rotated alike when one row
  /// goes by rope_length `a` and the other by `b`.
  int rotated_alike(int a, int b, int length) const;

  /// Frequencies for a total length, [dims / 2] float32, scaling applied.
  /// @source transformers 5.23 modeling_rope_utils.
  std::vector<float> inv_freq(int length) const;
  /// What cos and sin are multiplied by.
  float attention_scaling() const { return attention_scaling_; }
  /// What ops::rope needs for tokens whose frequencies a total length chooses.
  ops::RopeParams params_for(int length) const;
  int half_dims() const { return base_.inv_freq.shape(0); }
  bool interleaved() const { return interleaved_; }

 private:
  ops::RopeParams params(int length) const;
  /// Lengths with the same key have the same frequencies.
  int length_class(int length) const;

  config::RopeConfig config_;
  bool interleaved_;
  float attention_scaling_;
  ops::RopeParams base_;                 ///< of length class 0
  std::optional<ops::RopeParams> long_;  ///< longrope past its border
};

}  // namespace genkit::nn

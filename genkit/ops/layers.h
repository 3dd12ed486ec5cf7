#pragma once

#include <mlx/array.h>

#include <optional>
#include <utility>

namespace genkit::ops {

namespace mx = mlx::core;

/// x / sqrt(mean(x^2) + eps) * (offset + weight) over the last axis; sums in fp32.
/// @param offset 0, or 1 for the Gemma families, which store weight - 1.
/// @source Zhang & Sennrich 2019; transformers 5.23 LlamaRMSNorm, Gemma3RMSNorm.
mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps,
                   float offset = 0.0f);

/// What stands between two blocks of a model, as one graph node: sum = residual + y, or, where the
/// model norms what a block returns, residual + rms_norm(y, post_weight); then sum's own norm.
/// @return {sum, rms_norm(sum, weight)}, bit-identical to the same steps one by one.
std::pair<mx::array, mx::array> residual_rms_norm(const mx::array& residual, const mx::array& y,
                                                  const std::optional<mx::array>& post_weight,
                                                  const std::optional<mx::array>& weight, float eps,
                                                  float offset = 0.0f);

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axis; sums in fp32.
mx::array layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                     const std::optional<mx::array>& bias, float eps);

/// Rotates the first `2 * inv_freq.size` numbers of every head by position.
struct RopeParams {
  mx::array inv_freq = mx::array(0.0f);  ///< [dims / 2] float32, scaling already applied
  float attention_scaling = 1.0f;        ///< multiplies cos and sin (yarn, longrope)
  bool interleaved = false;              ///< pairs (0,1),(2,3).. instead of (0,d/2),(1,d/2+1)..
};
/// @param x         [tokens, heads, head_dim].
/// @param positions [tokens] int32.
/// @source Su et al. 2021; transformers 5.23 apply_rotary_pos_emb.
mx::array rope(const mx::array& x, const mx::array& positions, const RopeParams& params);

enum class Activation : uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu, kIdentity };

/// activation(x), element by element. kGelu uses erf, kGeluTanh the tanh approximation.
mx::array activate(const mx::array& x, Activation activation);

/// activation(gate) * up, element by element.
mx::array gated_activation(const mx::array& gate, const mx::array& up, Activation activation);

/// cap * tanh(x / cap).
mx::array softcap(const mx::array& x, float cap);

}  // namespace genkit::ops

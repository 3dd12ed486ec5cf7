#pragma once

#include <mlx/array.h>

#include <optional>
#include <vector>

#include "genkit/ops/attention.h"
#include "genkit/ops/layers.h"
#include "genkit/ops/weight.h"

/// The operations of this layer written in MLX's own: what runs on Metal and CUDA, what gradients
/// are taken through, and what the kernels are held against in tests. Arguments are checked by the
/// callers in genkit::ops.
namespace genkit::ops::composed {

namespace mx = mlx::core;

mx::array dequantize(const Weight& w);
mx::array linear(const mx::array& x, const mx::array& weight, const std::optional<mx::array>& bias);
mx::array expert_linear(const mx::array& x, const mx::array& experts, const mx::array& weight,
                        const std::optional<mx::array>& bias);
mx::array embedding(const mx::array& ids, const Weight& w);

mx::array rms_norm(const mx::array& x, const std::optional<mx::array>& weight, float eps, float offset);
mx::array layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                     const std::optional<mx::array>& bias, float eps);
mx::array rope(const mx::array& x, const mx::array& positions, const RopeParams& params);
mx::array activate(const mx::array& x, Activation activation);
/// {experts, weights}. @see ops::route
std::vector<mx::array> route(const mx::array& logits, int choices, bool normalize);
mx::array mix_experts(const mx::array& y, const mx::array& weights);
mx::array log_softmax(const mx::array& x);
mx::array cross_entropy(const mx::array& logits, const mx::array& targets);
mx::array softcap(const mx::array& x, float cap);

/// Attention of rows that have no store: only their own keys, causal, windowed.
mx::array attention(const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<int>& lengths, const AttentionParams& params);

}  // namespace genkit::ops::composed

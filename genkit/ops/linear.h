#pragma once

#include <mlx/array.h>

#include <optional>
#include <vector>

#include "genkit/ops/weight.h"

namespace genkit::ops {

/// x times the transpose of a weight, any format.
/// @param x    [tokens, in] float32 (float16 and bfloat16 on devices other than the CPU).
/// @param w    [out, in].
/// @param bias [out] or nothing.
/// @return     [tokens, out], dtype of x.
/// @throws ArgumentError naming the weight when the shapes do not fit.
mx::array linear(const mx::array& x, const Weight& w, const std::optional<mx::array>& bias = {});

/// Several products with the same x, as one graph node. @return one [tokens, out_i] a weight.
std::vector<mx::array> linear_many(const mx::array& x, const std::vector<const Weight*>& weights,
                                   const std::vector<std::optional<mx::array>>& biases = {});

/// Rows of a weight by index. @param ids [tokens] int32. @return [tokens, in] float32.
/// @throws ArgumentError when an id lies outside the weight's rows (checked at evaluation on CPU).
mx::array embedding(const mx::array& ids, const Weight& w);

/// Products with expert matrices: token t, choice c uses w[experts[t, c]].
/// @param x       [tokens, in] or, with one row a choice, [tokens, choices, in].
/// @param experts [tokens, choices] int32.
/// @param w       [experts, out, in].
/// @return        [tokens, choices, out] float32.
mx::array expert_linear(const mx::array& x, const mx::array& experts, const Weight& w,
                        const std::optional<mx::array>& bias = {});

}  // namespace genkit::ops
